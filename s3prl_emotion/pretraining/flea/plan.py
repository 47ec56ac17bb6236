"""Plan of a FLEA run: corpus, split, base, settings, and exclusions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_emotion.audio import SAMPLE_RATE_HZ
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError, UpstreamError
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.experiment.splits import SplitCache
from s3prl_emotion.pretraining import plan as shared
from s3prl_emotion.pretraining.flea.settings import FleaSettings
from s3prl_emotion.pretraining.frames import Framing
from s3prl_emotion.pretraining.masked import check_masks
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_audio, sha256_of_path
from s3prl_emotion.pretraining.settings import plain
from s3prl_emotion.protocols.split import Fold, Folds
from s3prl_emotion.s3prl_runner import arguments
from s3prl_emotion.s3prl_runner.registration import register
from s3prl_emotion.s3prl_runner.upstream_registry import upstreams
from s3prl_emotion.upstreams.resolution import resolve

RECIPE = "flea"


@dataclass(frozen=True, kw_only=True)
class FleaRequest(shared.PretrainRequest):
    """What to pretrain; ``upstream`` is the base: a dropped name, a folder, or a Hub id."""

    settings: FleaSettings  # of all stages
    corpus: str = "iemocap"


@dataclass(frozen=True)
class FleaPlan:
    """A checked request: everything that the stages need to know."""

    wanted: FleaRequest
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
        return sha256_of_path(self.base)

    def heard(self, fold: int | None) -> Manifest:
        """The utterances that a fold's pretraining may hear; None: that of all folds.

        Inductive: its training part, and its dev part unless the protocol keeps dev speakers apart from training.
        Transductive: the whole corpus, without labels.
        """
        if not self.inductive or fold is None:
            return self.manifest
        ids = shared.pretraining_ids(self.folds, fold)
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
            "audio": sha256_of_audio(self.manifest, [item.id for item in self.heard(fold).utterances]),
            **inputs,
        }
        return Stage(place / name, RECIPE, name, fold, {**settings, "seed": self.wanted.seed}, everything)

    def request(self, s3prl: Mapping[str, Any], folds: Sequence[int]) -> tuple[Request, SplitCache]:
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
        return request, SplitCache({self.folds.protocol: (self.manifest, self.folds)})

    @property
    def data(self) -> Path | None:
        """The corpus' folder."""
        return self.wanted.data


def make_plan(wanted: FleaRequest) -> FleaPlan:
    """Check a request, read the corpus, and write down what the run folder is for.

    Raises:
        EmotionError: if the base is no HuBERT, the corpus cannot be used, the protocol does not allow what is asked
            for, or the folder holds another run
    """
    register()
    base, name = find_base(wanted.upstream)
    settings = wanted.settings
    for key, layer in (("tapt", settings.tapt.layer), ("cluster", settings.cluster.layer)):
        check_layers(base, (layer,), f"{key}.layer: ")
    protocol, inductive = shared.protocol_of(wanted, wanted.corpus)
    run_name = shared.run_name(wanted, wanted.corpus, protocol, inductive)
    folder = wanted.folder or wanted.root / RECIPE / name / run_name
    identity = shared.identity_of(wanted, RECIPE, protocol.name, inductive, base=name, base_sha256=sha256_of_path(base))
    shared.check_folder(folder, identity)
    manifest, folds = shared.division_of(wanted, wanted.corpus, protocol.name, folder)
    longest_s = max(item.duration_s or 0.0 for item in manifest.utterances)
    framing = Framing.of(_config_of(base))
    for key, training in (("tapt", settings.tapt.training), ("cpt", settings.cpt.training)):
        frames = framing.frames(round(min(longest_s, training.batch.max_s) * SAMPLE_RATE_HZ))
        check_masks(frames, training.mask, f"{key}: the longest clip")
    shared.claim_folder(folder, identity)
    return FleaPlan(wanted, folder, base, name, manifest, folds, inductive, arguments.resolve_device(wanted.device))


def check_layers(base: Path, layers: Sequence[int], what: str) -> None:
    """Refuse layers that a base does not have, before anything is trained.

    Raises:
        ConfigError: naming the first
    """
    blocks = int(_config_of(base).num_hidden_layers)
    for layer in layers:
        if layer > blocks:
            raise ConfigError(f"{what}{layer}: {base} has {blocks} transformer blocks, so layers are 1 to {blocks}")


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
    kind = _config_of(Path(checkpoint)).model_type
    if kind != "hubert":
        raise UpstreamError(
            f"-u {upstream}: expected a HuBERT, found a model of type {kind!r}; FLEA trains HuBERT only"
        )
    return Path(checkpoint), name


def _config_of(folder: Path) -> Any:
    from s3prl_emotion.upstreams.transformers import read_config  # which loads torch

    return read_config(folder)


def settings_of(part: Any) -> dict[str, Any]:
    """A part of the settings as plain values."""
    return plain(part)
