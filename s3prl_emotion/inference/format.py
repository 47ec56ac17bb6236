"""What an exported folder holds.

``config.json`` says what the heads are and what they were trained on. ``head.safetensors`` holds, for each fold ``N``,
``fold<N>.head.<parameter>``, ``fold<N>.layer_weights`` (they sum to 1) and ``fold<N>.layer_logits`` (the same before
the softmax; computed with, so that results are the same to the bit). ``upstream.safetensors`` holds a fine-tuned
upstream's ``fold<N>.<parameter>``, ``text.safetensors`` those of a text encoder that was trained with the heads.
``README.md`` is the model card.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.inference.parts import UpstreamUse
from s3prl_emotion.runs.results import Results
from s3prl_emotion.upstreams.hub import snapshot_source
from s3prl_emotion.upstreams.per_fold import upstream_sha256
from s3prl_emotion.upstreams.ref import UpstreamOrigin, UpstreamRef

FORMAT = "s3prl-emotion head"
VERSION = 1
CONFIG_FILE = "config.json"
HEAD_FILE = "head.safetensors"
UPSTREAM_FILE = "upstream.safetensors"
TEXT_FILE = "text.safetensors"
CARD_FILE = "README.md"
FILES = (CONFIG_FILE, HEAD_FILE, UPSTREAM_FILE, TEXT_FILE, CARD_FILE)


@dataclass(frozen=True)
class ExportedUpstream:
    """The upstream that a head was trained on, and what it takes of it."""

    name: str
    checkpoint: str | None = None  # -k: a URL or Hub id, or the last part of a path
    checkpoint_sha256: str | None = None  # of the file, or of a folder's files with their names
    checkpoint_revision: str | None = None  # the commit, of a Hub id
    model_config: str | None = None  # -g, the same three
    model_config_sha256: str | None = None
    model_config_revision: str | None = None
    fine_tuned: bool = False  # -f: the weights come with the head
    selection: str = "hidden_states"  # -s
    layer: int | None = None  # -l
    normalize: bool = False  # --upstream_feature_normalize

    @classmethod
    def of(cls, ref: UpstreamRef, use: UpstreamUse) -> ExportedUpstream:
        """As an export has it.

        Folders of this machine tell others nothing: of a path its last part stays, and the hash of what is there.
        """
        checkpoint, model_config = _shortened(ref.checkpoint), _shortened(ref.model_config)
        return cls(ref.name, *checkpoint, *model_config, **dataclasses.asdict(use))

    def ref(self) -> UpstreamRef:
        """What was trained on; where it is here is not known."""

        def source(given: str | None, sha256: str | None, revision: str | None) -> UpstreamOrigin | None:
            return None if given is None else UpstreamOrigin(given, sha256=sha256, revision=revision)

        return UpstreamRef(
            self.name,
            source(self.checkpoint, self.checkpoint_sha256, self.checkpoint_revision),
            source(self.model_config, self.model_config_sha256, self.model_config_revision),
        )

    def use(self) -> UpstreamUse:
        """What the head takes."""
        return UpstreamUse(self.fine_tuned, self.selection, self.layer, self.normalize)


@dataclass(frozen=True)
class ExportedText:
    """The text encoder of heads that read what is said."""

    encoder: str  # a Hub id, or the last part of a path
    encoder_sha256: str | None = None  # of its files with their names
    encoder_revision: str | None = None  # the commit, of a Hub id

    @classmethod
    def of(cls, source: UpstreamOrigin) -> ExportedText:
        """As an export has it: of a path its last part stays."""
        return cls(*_shortened(source))  # type: ignore[arg-type]

    def source(self) -> UpstreamOrigin:
        """What was trained on; where it is here is not known."""
        return UpstreamOrigin(self.encoder, sha256=self.encoder_sha256, revision=self.encoder_revision)


@dataclass(frozen=True)
class Features:
    """What the upstream gives."""

    sample_rate_hz: int
    rate: int  # samples per frame
    width: int  # features per frame
    layers: int  # in the weighted sum


@dataclass(frozen=True)
class CorpusFacts:
    """What the heads were trained on."""

    name: str
    licence: str | None = None
    citation: str | None = None


@dataclass(frozen=True)
class ExportConfig:
    """``config.json``."""

    format: str
    version: int
    upstream: ExportedUpstream
    features: Features
    downstream: str  # the -d name
    modelrc: ModelConfig
    labels: tuple[str, ...]
    folds: tuple[int, ...]
    corpus: CorpusFacts
    max_duration_s: float | None = None  # the first seconds of a recording only
    trim_zeros: bool = False  # leave out digital zeros at both ends of a recording
    preparation: str | None = None  # the name of a way to clean recordings
    results: Results | None = None  # the run's results.json
    versions: dict[str, Any] | None = None  # of the packages that exported
    text: ExportedText | None = None  # of heads that read what is said


def _shortened(source: UpstreamOrigin | None) -> tuple[str | None, str | None, str | None]:
    """Name, SHA-256 and commit that say what it was, without where it lay."""
    if source is None:
        return None, None, None
    if source.revision is not None:
        return source.given, source.sha256, source.revision
    if (hub := snapshot_source(source.place)) is not None:
        return hub[0], source.sha256, hub[1]
    found = source.sha256 or upstream_sha256(source.place)
    return (source.place, None, None) if found is None else (Path(source.place).name, found, None)
