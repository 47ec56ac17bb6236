"""Derived audio: denoised recordings, and augmented copies for class balance.

Both become files, once, under names that follow from their content and how they are made; every upstream, head and seed
reads the same ones.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from s3prl_emotion.audio import SAMPLE_RATE_HZ
from s3prl_emotion.audio.augmenting import DEFAULT, Augmentation
from s3prl_emotion.audio.cleaning import Cleaning, cleaning
from s3prl_emotion.audio.derived import DerivedFile, job_name, make_all, path_of, record_of
from s3prl_emotion.audio.preparation import WHOLE
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.corpora.validation import ERROR, validate
from s3prl_emotion.errors import CorpusError, ProtocolError
from s3prl_emotion.protocols.balance import Balance, balanced, stand_in
from s3prl_emotion.protocols.protocol import Protocol
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.plan import AudioDerivation

logger = logging.getLogger(__name__)

VERSION = 1
"""Of how files are made here; another one names others."""
_LIBRARIES = ("audiomentations", "librosa", "python-stretch")


def check_derivation(making: AudioDerivation, protocol: Protocol) -> None:
    """Refuse what cannot be made before any audio is read.

    Raises:
        ConfigError: if an effect, an option or a preparation is wrong, or a library is missing
        ProtocolError: if the protocol balances, and it is not said how many
    """
    if making.preparation is not None:
        cleaning(making.preparation, "--preparation")
    if making.balance is not None:
        augmentation_of(making.balance)
    elif protocol.siblings_in_dev:
        raise ProtocolError(
            f"protocol {protocol.name}: balances before dev is divided off, which is all that it differs in: give "
            "--balance 2000, the paper's number, or use paper-d"
        )


def augmentation_of(balance: Balance) -> Augmentation:
    """The effects of the copies."""
    return Augmentation.of(DEFAULT if balance.effects is None else balance.effects, "--augmentation")


def derive_clean(manifest: Manifest, name: str, root: Path) -> Manifest:
    """The corpus with every recording cleaned, without those that are too short after it.

    Args:
        manifest: the corpus, checked
        name: of a way to clean
        root: for the files

    Returns:
        utterances that keep their ids, and the fingerprints that audits compare

    Raises:
        ConfigError, AudioError, OSError: if it cannot be cleaned
        CorpusError: if nothing is left
    """
    way = cleaning(name, "--preparation")
    about = {"made": "cleaned", "version": VERSION, "preparation": name, "libraries": versions(way.libraries)}
    folder = _folder(root, about)
    names = [job_name(item.content) for item in manifest.utterances]
    jobs = [DerivedFile(job, _Clean(manifest, item, way)) for job, item in zip(names, manifest.utterances, strict=True)]
    items = [
        dataclasses.replace(item, path=path_of(folder, job).as_posix(), start_s=None, end_s=None)
        for job, item in zip(names, manifest.utterances, strict=True)
    ]
    found = _made(folder, about, jobs, manifest.with_utterances(items), f"preparation {name}")
    kept = [item for item in found.utterances if (item.duration_s or 0.0) >= way.min_duration_s]
    _say_dropped(manifest, kept, way)
    if not kept:
        raise CorpusError(
            f"{manifest.corpus}: preparation {name}: none of {len(names)} utterances is {way.min_duration_s:g} s long "
            "after it"
        )
    return manifest.with_utterances(dataclasses.replace(item, trimmed=manifest.by_id[item.id].sound) for item in kept)


def derive_copies(manifest: Manifest, folds: Folds, balance: Balance, root: Path) -> tuple[Manifest, Folds]:
    """The corpus with the copies that balanced training parts need, and folds that name them.

    Args:
        manifest: the corpus, checked
        folds: its division
        balance: how many of each class, and how copies are made
        root: for the files

    Raises:
        ProtocolError: if a class cannot be balanced
        ConfigError, AudioError, OSError: if a copy cannot be made
    """
    effects = augmentation_of(balance)
    result = balanced(manifest, folds, balance.size, balance.seed)
    about = {
        "made": "copies",
        "version": VERSION,
        "seed": balance.seed,
        "effects": effects.identity(),
        "libraries": versions(_LIBRARIES),
    }
    folder = _folder(root, about)
    jobs, copies = [], []
    for copy in result.copies:
        source = manifest.by_id[copy.of]
        job = job_name(copy.of, source.content, copy.number)
        jobs.append(DerivedFile(job, _Augment(manifest, source, effects, balance.seed, copy.number)))
        copies.append(dataclasses.replace(stand_in(source, copy), path=path_of(folder, job).as_posix()))
    if copies:
        own = dataclasses.replace(manifest, utterances=tuple(copies), train_order={}, dev_order={})
        found = _made(folder, about, jobs, own, "copies")
        copies = [
            dataclasses.replace(item, augmentation=tuple(record_of(Path(item.path)))) for item in found.utterances
        ]
    logger.info("%s: augmented copies: %d, folds: %d", balance, len(copies), len(result.folds.folds))
    return manifest.with_utterances((*manifest.utterances, *copies)), result.folds


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """The versions of installed packages."""
    return {name: importlib.metadata.version(name) for name in libraries}


@dataclasses.dataclass(frozen=True)
class _Clean:
    manifest: Manifest
    item: Utterance
    way: Cleaning

    def __call__(self) -> tuple[np.ndarray, Any]:
        samples = WHOLE.waveform(self.manifest.path_of(self.item), self.item.start_s, self.item.end_s)
        left = self.way.clean(samples)
        record = {"preparation": self.way.name, "of": self.item.content}
        return (left if len(left) else np.zeros(1, np.float32)), record  # there is no FLAC without a sample


@dataclasses.dataclass(frozen=True)
class _Augment:
    manifest: Manifest
    item: Utterance
    effects: Augmentation
    seed: int
    number: int

    def __call__(self) -> tuple[np.ndarray, Any]:
        path = self.manifest.path_of(self.item)
        samples = WHOLE.waveform(path, self.item.start_s, self.item.end_s)
        key = (self.seed, self.item.id, self.number)
        changed, record = self.effects(samples, SAMPLE_RATE_HZ, *key, name=str(path), at_least_one=True)
        return changed, [dict(item) for item in record]


def _folder(root: Path, about: Mapping[str, Any]) -> Path:
    return root.expanduser().absolute() / f"{about['made']}-{job_name(about)[:16]}"


def _made(folder: Path, about: Mapping[str, Any], jobs: Sequence[DerivedFile], made: Manifest, what: str) -> Manifest:
    """The utterances of the files, which are made where they are absent or damaged, with what validation fills in."""
    found = made
    for again in (False, True):
        with tqdm(total=len(jobs), desc=what, leave=False, disable=None) as bar:

            def show(bar: Any = bar) -> None:
                bar.update()

            make_all(folder, about, jobs, show)
        found, problems = validate(made)
        damaged = {item.path for item in problems if item.severity == ERROR and item.kind != "short"}
        if not damaged:
            break
        if again:
            raise CorpusError(f"{folder}: {len(damaged)} files cannot be read although they were made just now")
        logger.warning("%s: %d damaged files in %s are made again", what, len(damaged), folder)
        for path in damaged:
            Path(path).unlink(missing_ok=True)
    return found


def _say_dropped(manifest: Manifest, kept: Sequence[Utterance], way: Cleaning) -> None:
    dropped = Counter(item.label for item in manifest.utterances) - Counter(item.label for item in kept)
    listed = ", ".join(f"{label} {dropped[label]}" for label in manifest.labels if dropped[label])
    logger.warning(
        "preparation %s: %d of %d utterances dropped, which hold less than %g s after it%s",
        way.name,
        len(manifest.utterances) - len(kept),
        len(manifest.utterances),
        way.min_duration_s,
        f" ({listed})" if listed else "",
    )
