"""What a FLEA run is: corpus, division, base, settings, and who may hear what."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge import arguments
from s3prl_emotion.bridge.cache import CacheOptions
from s3prl_emotion.bridge.entries import upstreams
from s3prl_emotion.bridge.registration import register
from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.errors import ConfigError, ProtocolError, RunError, UpstreamError
from s3prl_emotion.experiment.division import Prepared
from s3prl_emotion.experiment.preparation import prepare
from s3prl_emotion.experiment.request import DEFAULT_SEED, Request, corpus_name
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining.flea.settings import FleaSettings
from s3prl_emotion.pretraining.lineage import Stage, hash_of, hash_of_audio
from s3prl_emotion.pretraining.settings import plain
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.split import Fold, Folds
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.record import differences, read_json
from s3prl_emotion.upstreams.resolution import resolve

RECIPE = "flea"
RECIPE_FILE = "recipe.json"
DEFAULT_ROOT = Path("result/pretraining")


@dataclass(frozen=True)
class Wanted:
    """What to pretrain.

    Args:
        upstream: the base: a dropped name, a folder, or a Hub id
        settings: of all stages
        corpus: a corpus' name
        data: its folder
        corpus_options: further options of the corpus' reader
        protocol: a protocol's name; None takes the corpus' default
        folds: the folds to work on; None takes all
        inductive: no stage hears what a fold tests on; None: unless the protocol is a transductive one
        folder: where everything goes; None: below ``root``, named by what is done
        root: see ``folder``
        seed: of everything random
        device: ``cuda`` or ``cpu``; None chooses
        demo: a demonstration, whose numbers say nothing
        cache_options: of the store of hidden states
    """

    upstream: str
    settings: FleaSettings
    corpus: str = "iemocap"
    data: Path | None = None
    corpus_options: Mapping[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    folds: tuple[int, ...] | None = None
    inductive: bool | None = None
    folder: Path | None = None
    root: Path = DEFAULT_ROOT
    seed: int = DEFAULT_SEED
    device: str | None = None
    demo: bool = False
    skip_bad: bool = False
    trim_zeros: bool = False
    drop_leaks: bool = False
    cache_options: CacheOptions = field(default_factory=CacheOptions)


@dataclass(frozen=True)
class Plan:
    """A checked request: everything that the stages need to know."""

    wanted: Wanted
    folder: Path
    base: Path  # of the HuBERT in transformers format
    base_name: str
    manifest: Manifest
    folds: Folds
    inductive: bool
    device: str

    @property
    def settings(self) -> FleaSettings:
        """Of all stages."""
        return self.wanted.settings

    @property
    def numbers(self) -> tuple[int, ...]:
        """The folds to work on."""
        return self.wanted.folds or tuple(fold.number for fold in self.folds.folds)

    @functools.cached_property
    def base_sha256(self) -> str:
        """Of the base's files."""
        return hash_of(self.base)

    def heard(self, fold: int | None) -> Manifest:
        """The utterances that a fold's pretraining may hear; None: that of all folds.

        Inductive: its training part, and its dev part unless the protocol keeps dev speakers apart from training.
        Transductive: the whole corpus, without labels.
        """
        if not self.inductive or fold is None:
            return self.manifest
        protocol, division = protocols.get(self.folds.protocol), self.folds[fold]
        ids = set(division.train) | (set() if protocol.speaker_disjoint_dev else set(division.dev))
        ids -= set(division.test)
        return self.manifest.with_utterances(item for item in self.manifest.utterances if item.id in ids)

    def labelled(self, fold: int) -> Manifest:
        """The utterances whose labels fine-tuning sees: those to train and to select on."""
        division: Fold = self.folds[fold]
        ids = {*division.train, *division.dev}
        return self.manifest.with_utterances(item for item in self.manifest.utterances if item.id in ids)

    def shared_tapt(self) -> bool:
        """Whether stage 1 is the same for all folds: where everything may be heard."""
        return not self.inductive

    def stage(
        self,
        name: str,
        fold: int | None,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str | None],
        below: str = "",
    ) -> Stage:
        """A stage of this run, with what every stage depends on.

        Args:
            name: of the stage
            fold: None if it is the same for all
            settings: of the stage
            inputs: further inputs' hashes
            below: a folder of the run, for cells of a grid
        """
        place = self.folder / below if fold is None else self.folder / below / f"fold{fold}"
        everything: dict[str, str | None] = {
            "base": self.base_sha256,
            "audio": hash_of_audio(self.manifest, [item.id for item in self.heard(fold).utterances]),
            **inputs,
        }
        return Stage(place / name, RECIPE, name, fold, {**settings, "seed": self.wanted.seed}, everything)

    def request(self, s3prl: Mapping[str, Any], folds: Sequence[int]) -> tuple[Request, Prepared]:
        """A benchmark run on this corpus and division."""
        request = Request(
            s3prl={"seed": self.wanted.seed, "device": self.device, **s3prl},
            corpus=self.wanted.corpus,
            data=self.data,
            corpus_options=self.wanted.corpus_options,
            protocol=self.folds.protocol,
            folds=tuple(folds),
            demo=False,
            skip_bad=self.wanted.skip_bad,
            trim_zeros=self.wanted.trim_zeros,
            drop_leaks=self.wanted.drop_leaks,
            cache_options=self.wanted.cache_options,
        )
        return request, {self.folds.protocol: (self.manifest, self.folds)}

    @property
    def data(self) -> Path | None:
        """The corpus' folder."""
        return self.wanted.data


def make_plan(wanted: Wanted) -> Plan:
    """Check a request, read the corpus, and write down what the run folder is for.

    Raises:
        EmotionError: if the base is no HuBERT, the corpus cannot be used, the protocol does not allow what is asked
            for, or the folder holds another run
    """
    register()
    base, name = find_base(wanted.upstream)
    entry = corpora.get(wanted.corpus, "--corpus")
    protocol = protocols.get(wanted.protocol or entry.default_protocol, "--protocol")
    inductive = not protocol.transductive if wanted.inductive is None else wanted.inductive
    if not inductive and not protocol.transductive:
        raise ProtocolError(
            f"--no-inductive: protocol {protocol.name} does not allow pretraining to hear test audio; use --protocol "
            f"{protocol.name}-transductive, or leave it out"
        )
    folder = wanted.folder or wanted.root / RECIPE / name / _run_name(wanted, protocol.name, inductive)
    identity = _identity(wanted, name, base, protocol.name, inductive)
    _check(folder, identity)
    manifest, folds = _corpus(wanted, protocol.name, folder)
    known = tuple(fold.number for fold in folds.folds)
    for number in wanted.folds or ():
        if number not in known:
            raise ConfigError(f"--fold {number}: {wanted.corpus} has folds {', '.join(map(str, known))}")
    write_atomically(folder / RECIPE_FILE, json.dumps(identity, indent=1) + "\n")
    return Plan(wanted, folder, base, name, manifest, folds, inductive, arguments.resolve_device(wanted.device))


def find_base(upstream: str) -> tuple[Path, str]:
    """The folder of a HuBERT in transformers format, and a name for it.

    Raises:
        UpstreamError: if it is something else
    """
    name, checkpoint, _ = resolve(upstream, None, None).options
    if checkpoint is None or not Path(checkpoint).is_dir() or name in upstreams():
        raise UpstreamError(
            f"-u {upstream}: expected a HuBERT in transformers format: a folder, a dropped name, or a Hub id"
        )
    from s3prl_emotion.upstreams.transformers import read_config

    kind = read_config(Path(checkpoint)).model_type
    if kind != "hubert":
        raise UpstreamError(
            f"-u {upstream}: expected a HuBERT, found a model of type {kind!r}; FLEA trains HuBERT only"
        )
    return Path(checkpoint), name


def _run_name(wanted: Wanted, protocol: str, inductive: bool) -> str:
    request = Request(s3prl={}, corpus=wanted.corpus, data=wanted.data, corpus_options=wanted.corpus_options)
    mode = "-inductive" if inductive and protocols.get(protocol).transductive else ""
    seed = "" if wanted.seed == DEFAULT_SEED else f"-seed{wanted.seed}"
    return f"{corpus_name(request)}-{protocol}{mode}{seed}"


def _identity(wanted: Wanted, name: str, base: Path, protocol: str, inductive: bool) -> dict[str, Any]:
    """Everything that all stages share; what one stage alone depends on is in its own folder."""
    content = {
        "recipe": RECIPE,
        "base": name,
        "base_sha256": hash_of(base),
        "corpus": {
            "name": wanted.corpus,
            "data": None if wanted.data is None else str(wanted.data.expanduser().absolute()),
            "options": dict(wanted.corpus_options),
        },
        "protocol": protocol,
        "inductive": inductive,
        "seed": wanted.seed,
        "skip_bad": wanted.skip_bad,
        "trim_zeros": wanted.trim_zeros,
        "drop_leaks": wanted.drop_leaks,
        "demo": wanted.demo,
        "cache": wanted.cache_options.dtype,
    }
    return dict(json.loads(json.dumps(content)))


def _check(folder: Path, identity: Mapping[str, Any]) -> None:
    if not (folder / RECIPE_FILE).is_file():
        if folder.is_dir() and RunFolder(folder).is_begun:
            raise RunError(f"{folder}: is the folder of a run. Name another with -n or -p")
        return
    earlier = read_json(folder / RECIPE_FILE, "a pretraining folder")
    differing = [line for key in identity for line in differences(key, earlier.get(key), identity[key])]
    if differing:
        raise RunError(
            f"{folder} holds pretraining with other settings: {'; '.join(differing[:5])}. Name another folder with "
            "-n or -p, or remove this one"
        )


def _corpus(wanted: Wanted, protocol: str, folder: Path) -> tuple[Manifest, Folds]:
    place = RunFolder(folder)
    if all(path.is_file() for path in (folder / RECIPE_FILE, place.manifest, place.folds)):
        return place.division()
    return prepare(
        wanted.corpus,
        wanted.data,
        wanted.corpus_options,
        protocol,
        place,
        wanted.skip_bad,
        wanted.trim_zeros,
        wanted.drop_leaks,
    )


def settings_of(part: Any) -> dict[str, Any]:
    """A part of the settings as plain values."""
    return plain(part)
