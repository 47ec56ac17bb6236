"""From a corpus folder to a checked manifest and folds, both as files."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from s3prl_emotion.config import shown
from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.corpora.demo import make_demo_corpus
from s3prl_emotion.corpora.validation import NOTICE, Problem, apply, trim_zeros, validate
from s3prl_emotion.corpora.validation import summarise as summarise_problems
from s3prl_emotion.errors import ConfigError, CorpusError
from s3prl_emotion.experiment.derived_audio import check_derivation, derive_clean, derive_copies
from s3prl_emotion.files import clean_up, write_atomically
from s3prl_emotion.locks import only_here
from s3prl_emotion.protocols import audit, protocols
from s3prl_emotion.protocols.leaks import without_leaks
from s3prl_emotion.protocols.split import Folds, check_divisible, make_folds
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.plan import AudioDerivation
from s3prl_emotion.upstreams.per_fold import is_per_fold

logger = logging.getLogger(__name__)

PRETRAINING_FILE = "pretraining.jsonl"
"""In the folder of a checkpoint or of a pretrained head: the manifest of what it was pretrained on."""
LABELLED_FILE = "pretraining-labelled.jsonl"
"""Beside it: the manifest of what of this was heard with its emotion labels."""
NOTHING = AudioDerivation()
_SHOWN = 5


def prepare(
    corpus: str,
    data: Path | None,
    options: Mapping[str, Any],
    protocol: str | None,
    folder: RunFolder,
    skip_bad: bool = False,
    trim: bool = False,
    drop_leaks: bool = False,
    pretraining: Sequence[Path] = (),
    learned: Sequence[Path] = (),
    making: AudioDerivation = NOTHING,
) -> tuple[Manifest, Folds]:
    """:func:`divide` a corpus, audit it, and write ``manifest.jsonl`` and ``folds.json``.

    Args:
        corpus, data, options, protocol, folder, skip_bad, trim, drop_leaks, making: as of :func:`divide`
        pretraining: manifests of what the upstream was pretrained on
        learned: the upstream's checkpoint, and a pretrained head: folders that may hold such manifests

    Raises:
        EmotionError: as :func:`divide`, and naming leaks that the protocol does not declare (``audit.json``)
    """
    manifest, folds = divide(corpus, data, options, protocol, folder, skip_bad, trim, drop_leaks, making)
    check_leaks(manifest, folds, folder, pretraining, learned)
    folder.write_division(manifest, folds)
    return manifest, folds


def divide(
    corpus: str,
    data: Path | None,
    options: Mapping[str, Any],
    protocol: str | None,
    folder: RunFolder,
    skip_bad: bool = False,
    trim: bool = False,
    drop_leaks: bool = False,
    making: AudioDerivation = NOTHING,
) -> tuple[Manifest, Folds]:
    """Read a corpus, check and clean its audio, divide and balance it.

    Args:
        corpus: a corpus' name
        data: its folder
        options: of its reader
        protocol: a protocol's name; None takes the corpus' own
        folder: where the table of problems goes; it need not become that of a run
        skip_bad: leave out files that cannot be used
        trim: leave out digital zeros at both ends
        drop_leaks: leave out of train and dev what is in a later part as audio or as an augmented sibling
        making: what audio is made of the corpus': cleaned recordings, augmented copies

    Raises:
        EmotionError: naming the files that cannot be used (``problems.csv`` in ``folder`` lists them all), or why the
            corpus cannot be divided so
    """
    entry = corpora.get(corpus, "--corpus")
    chosen = protocols.get(protocol or entry.default_protocol, "--protocol")
    check_derivation(making, chosen)
    manifest = entry.read(_data_folder(corpus, data, folder.path), **options)
    check_divisible(manifest, chosen)
    manifest = checked(manifest, corpus, folder.problems, skip_bad, trim)
    if making.preparation is not None:
        manifest = derive_clean(manifest, making.preparation, making.root)
    if manifest.corpus == "iemocap" and chosen.name.startswith("superb") and not manifest.train_order:
        logger.warning(
            "protocol %s: the division is ours, not S3PRL's, since it depends on the order of utterances: "
            "--corpus-option metadata=DIR follows that of S3PRL's meta_data/Session<k>/{train,test}_meta_data.json",
            chosen.name,
        )
    folds = make_folds(manifest, chosen)
    if drop_leaks:
        folds, dropped = without_leaks(manifest, folds, chosen)
        logger.warning("--drop-leaks: %d utterances left out of train and dev, summed over folds", dropped)
    if making.balance is not None:
        manifest, folds = derive_copies(manifest, folds, making.balance, making.root)
    return manifest, folds


def checked(manifest: Manifest, name: str, problems: Path, skip_bad: bool, trim: bool) -> Manifest:
    """Decode all audio once: durations and fingerprints are known then, and what is wrong is in a table.

    Args:
        manifest: what to check
        name: of the corpus, for the log
        problems: the table; its folder is made
        skip_bad: leave out files that cannot be used
        trim: leave out digital zeros at both ends

    Raises:
        CorpusError: naming the files that cannot be used
    """
    logger.info("checking %d audio files of %s", len(manifest.utterances), name)
    with tqdm(total=len(manifest.utterances), desc="audio", leave=False, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)

        manifest, found = validate(manifest, show)
    problems.parent.mkdir(parents=True, exist_ok=True)
    clean_up(problems.parent)
    _report(found, problems, trim)
    manifest = apply(manifest, found, skip_bad)
    return trim_zeros(manifest) if trim else manifest


def check_leaks(
    manifest: Manifest, folds: Folds, folder: RunFolder, pretraining: Sequence[Path], learned: Sequence[Path] = ()
) -> None:
    """Audit a division before anything is trained on it, into ``audit.json``, and say what train and test share.

    Raises:
        ProtocolError: if something leaks that the protocol does not declare
    """
    protocol = protocols.get(folds.protocol)
    found = [audit.PretrainingData(path) for path in pretraining]
    for place in learned:
        found += heard(place, folds)
    findings = audit.audit_once(manifest, folds, protocol, found, folder.audit)
    audit.refuse_leaks(findings, protocol, manifest.corpus)
    for item in audit.summary(findings):
        first, second = item["between"]
        if item["kind"] == audit.UNKNOWN_SPEAKER:
            logger.warning("%s and %s: whether they share speakers is not known", first, second)
        elif item["kind"] == audit.VOICE:
            pass  # said once for all folds, below
        elif second == "test" or item["kind"] == audit.SIBLING:
            log = logger.warning if item["status"] == audit.DECLARED else logger.info
            share = 100 * item["share"]
            log("%s shared by %s and %s: %.0f %% (%s)", item["kind"], first, second, share, item["status"])
    alike = dict.fromkeys(pair for item in findings if item.kind == audit.VOICE for pair in item.examples)
    if alike:
        logger.warning(
            "speakers with the same recording, who may be one person: %s%s: one of the names is wrong, or both are "
            "one person's. %s has all",
            "; ".join(list(alike)[:_SHOWN]),
            "; ..." if len(alike) > _SHOWN else "",
            folder.audit.name,
        )


def heard(checkpoint: Path, folds: Folds) -> list[audit.PretrainingData]:
    """What lies in a folder about its pretraining: of each fold's model, where there are several."""
    if not checkpoint.is_dir():
        return []
    numbers: Sequence[int | None] = [fold.number for fold in folds.folds] if is_per_fold(str(checkpoint)) else [None]
    found = []
    for number in numbers:
        place = checkpoint if number is None else checkpoint / f"fold{number}"
        for name, labelled in ((PRETRAINING_FILE, False), (LABELLED_FILE, True)):
            if (place / name).is_file():
                found.append(audit.PretrainingData(place / name, number, labelled))
    return found


def _report(problems: Sequence[Problem], path: Path, trim: bool) -> None:
    """Write all problems to a table, and say what kinds of notices there are."""
    if not problems:
        return
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["severity", "kind", "utterance", "path", "message"])
    writer.writerows([p.severity, p.kind, p.utterance, p.path, p.message] for p in problems)
    write_atomically(path, table.getvalue())
    notices = [problem for problem in problems if problem.severity == NOTICE]
    if not notices:
        return
    examples = "; ".join({problem.kind: problem.message for problem in reversed(notices)}.values())
    logger.warning("notices: %s; for example %s. All are in %s", summarise_problems(notices), examples, path)
    padded = sum(problem.kind == "zero-padded" for problem in notices)
    if padded and not trim:
        logger.warning("%d clips end in digital zeros, which are no speech: --trim-zeros leaves them out", padded)


def _data_folder(corpus: str, data: Path | None, folder: Path) -> Path:
    if data is not None:
        return data
    if corpus == "demo":
        return make_demo_corpus(folder / "corpus")
    raise CorpusError(
        f"--corpus {corpus}: where is it? Give its folder with --data DIR. To try out without one, use --demo alone"
    )


@contextlib.contextmanager
def claimed(folder: RunFolder, given: str) -> Iterator[None]:
    """Hold a folder that a corpus is prepared into.

    Args:
        folder: which
        given: the option that named it, for messages

    Raises:
        ConfigError: if it is that of a run
    """
    if any(RunFolder(place).is_begun for place in (folder.path, folder.path.absolute().parent)):
        raise ConfigError(f"{given}: is the folder of a run, whose manifest and folds must stay. Name another")
    with only_here(folder.path, wait=True):
        yield


def check_prepared(
    folder: RunFolder, corpus: str, data: Path | None, options: Mapping[str, Any], skip_bad: bool, trim: bool
) -> Manifest:
    """The manifest of a folder, if it is that of a corpus as its reader gives it now; nothing is decoded.

    Raises:
        ConfigError: naming what differs
    """
    manifest = Manifest.read(folder.manifest)
    differing = manifest.corpus
    if manifest.corpus == corpus or corpora.get(corpus, "--corpus").named_by_data:
        read = corpora.get(corpus, "--corpus").read(_data_folder(corpus, data, folder.path), **options)
        differing = _difference(manifest, read, skip_bad, trim)
    if differing:
        raise ConfigError(
            f"{folder.path}: holds {differing}, not what --corpus {corpus}"
            f"{'' if data is None else f' --data {data}'} and its options say. Name another folder, or take what lies "
            "there away"
        )
    return manifest


def _difference(manifest: Manifest, read: Manifest, skip_bad: bool, trim: bool) -> str:
    """In what a prepared manifest is not the corpus as it was read; empty if it is."""
    if (manifest.corpus, manifest.labels) != (read.corpus, read.labels):
        return f"{manifest.corpus} with the classes {', '.join(manifest.labels)}"
    if Path(manifest.root).resolve() != Path(read.root).resolve():
        return f"audio below {manifest.root}"
    there = {item.id: item for item in manifest.utterances if item.augmentation is None}
    for item in read.utterances:
        if item.id not in there:
            if skip_bad:
                continue
            return f"no utterance {item.id!r}"
        found = there.pop(item.id)
        for name in ("path", "label", "speaker", "text", *(() if trim else ("start_s", "end_s"))):
            if getattr(found, name) != getattr(item, name):
                return f"{item.id!r} with {name} {shown(getattr(found, name))}"
        if trim and found.trimmed is not None:
            return f"{item.id!r} with digital zeros (it was prepared without --trim-zeros)"
    return f"another utterance {next(iter(there))!r}" if there else ""
