"""Files of an export: configuration and model card."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.evaluation.comparability import headline
from s3prl_emotion.evaluation.metrics import rates
from s3prl_emotion.inference.parts import UpstreamUse
from s3prl_emotion.printable import block, code, markdown, one_line
from s3prl_emotion.published import superb_rows
from s3prl_emotion.reporting.table import confusion_table, results_table
from s3prl_emotion.runs.results import Results
from s3prl_emotion.upstreams.hub import snapshot_source
from s3prl_emotion.upstreams.per_fold import upstream_sha256
from s3prl_emotion.upstreams.reference import UpstreamOrigin, UpstreamRef

# What an exported folder holds.
#
# ``config.json`` says what the heads are and what they were trained on. ``head.safetensors`` holds, for each fold
# ``N``, ``fold<N>.head.<parameter>``, ``fold<N>.layer_weights`` (they sum to 1) and ``fold<N>.layer_logits`` (the same
# before the softmax; computed with, so that results are the same to the bit). ``upstream.safetensors`` holds a fine-
# tuned upstream's ``fold<N>.<parameter>``, ``text.safetensors`` those of a text encoder that was trained with the
# heads. ``README.md`` is the model card.

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


OF = {"mean": "mean over folds", "pooled": "over the predictions of all folds together"}


def model_card(config: ExportConfig) -> str:
    """The card of an export as Markdown, with the Hub's metadata in front. No network is used."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        license="other",
        license_name="terms-of-the-corpus-and-the-upstream",
        library_name="s3prl-emotion",
        pipeline_tag="audio-classification",
        base_model=one_line(config.upstream.checkpoint or "") if config.upstream.checkpoint_revision else None,
        tags=["speech-emotion-recognition", "s3prl", *map(one_line, (config.upstream.name, config.downstream))],
        model_name=_title(config),
        eval_results=_eval_results(config),
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_body(config)}\n"))


def _title(config: ExportConfig) -> str:
    return one_line(f"{config.downstream} on {config.upstream.name}, {config.corpus.name}")


def _eval_results(config: ExportConfig) -> list[Any] | None:
    from huggingface_hub import EvalResult

    if config.results is None or config.results.is_demo:
        return None  # figures of a demo are none to be listed beside others
    results = config.results
    listed = [(rate, *headline(results, name)) for name, rate in rates().items() if rate.hub and name in results.rates]
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="speech emotion recognition",
            dataset_type=one_line(config.corpus.name),
            dataset_name=one_line(
                f"{config.corpus.name}, {len(config.labels)} classes, protocol {results.protocol.name}"
            ),
            dataset_split="test",
            metric_type=rate.hub,
            metric_name=f"{rate.title}{f' ({rate.meaning})' if rate.meaning else ''}, {OF[of]}",
            metric_value=round(value, 4),
        )
        for rate, value, of in listed
    ]


def _body(config: ExportConfig) -> str:
    labels = ", ".join(map(markdown, config.labels))
    sections = {
        "": [
            f"Recognises {len(config.labels)} emotions ({labels}) in speech. A small head, with weights for the layers "
            f"of the upstream {code(config.upstream.name)}, trained by [S3PRL](https://github.com/s3prl/s3prl) with "
            f"the configuration {code(config.downstream)} of s3prl-emotion. {_upstream(config)}{_text(config)}",
            *_pretrained(config),
        ],
        "How to use": [
            f'```python\nfrom s3prl_emotion import load\nrecogniser = load("FOLDER")\n{_call(config)}\n```',
            "`FOLDER` holds these files (`hf download OWNER/NAME --local-dir FOLDER`). Any sampling rate is converted "
            f"to 16 kHz. {_audio(config)}The same for many files: `s3prl-emotion predict --run FOLDER FILES...`",
        ],
        "Results": _results(config),
        "Limitations": _limitations(config),
        "Licence": _licence(config),
    }
    parts = [f"# {markdown(_title(config))}"]
    for title, paragraphs in sections.items():
        parts += [f"## {title}"] if title else []
        parts += paragraphs
    return "\n\n".join(parts)


def _upstream(config: ExportConfig) -> str:
    use = config.upstream
    if use.fine_tuned:
        weights = f"The upstream was fine-tuned; its weights are in `{UPSTREAM_FILE}`"
        weights += "" if use.checkpoint is None else f", its architecture comes with {code(f'-k {use.checkpoint}')}"
        return f"{weights}."
    if use.checkpoint is None:
        return "The upstream was frozen and is not part of this folder."
    known = "" if use.checkpoint_sha256 is None else f" (SHA-256 {code(use.checkpoint_sha256)})"
    if use.checkpoint_revision is not None:
        known = f" (on the Hub, commit {code(use.checkpoint_revision)})"
    return (
        f"The upstream was frozen and is not part of this folder: its checkpoint is {code(use.checkpoint)}{known}; "
        "where it is not found by itself, `load(..., checkpoint=PATH)` names its place."
    )


def _text(config: ExportConfig) -> str:
    """The text encoder of heads that read what is said."""
    if config.text is None or config.modelrc.text is None:
        return ""
    known = "" if config.text.encoder_sha256 is None else f" (SHA-256 {code(config.text.encoder_sha256)})"
    if config.text.encoder_revision is not None:
        known = f" (on the Hub, commit {code(config.text.encoder_revision)})"
    if config.modelrc.text.trainable:
        state = f"was trained with the heads; its weights are in `{TEXT_FILE}`, its tokenizer and settings come from"
    else:
        state = "was frozen and is not part of this folder: it is"
    heard = "alone: nothing of the speech enters" if not config.modelrc.text.speech else "beside the speech"
    return (
        f" The heads read what is said, {heard}. The text encoder {state} {code(config.text.encoder)}{known}; where it "
        "is not found by itself, `load(..., text_encoder=PATH)` names its place. Texts are given, or heard by a speech "
        "recogniser."
    )


def _call(config: ExportConfig) -> str:
    said = "" if config.text is None else ', texts=["what is said"]'
    return f'print(recogniser.predict(["a.wav"]{said})[0].probabilities)'


def _pretrained(config: ExportConfig) -> list[str]:
    """Where the head comes from, if it did not start from random weights."""
    start = config.modelrc.pretrained
    if start is None:
        return []
    settings = None if config.results is None else config.results.settings
    found = {} if settings is None else settings.further.get("pretrained", {})
    record = found if isinstance(found, dict) else {}
    speech = record.get("speech", ())
    names = speech if isinstance(speech, (list, tuple)) else [speech]
    heard = ", ".join(code(str(name)) for name in names) or "speech that its own folder names"
    kept = "stayed as they were" if start.frozen else "were trained on"
    pairs = {
        "labels": " Its pairs came from emotion labels: an upper bound, no pretraining without labels.",
        "random": " Its pairs came from random clusters: a control.",
    }.get(str(record.get("clusters", "")), "")
    transductive = (
        " It heard audio of test folds, without labels (transductive)." if record.get("inductive") is False else ""
    )
    return [
        f"Layer weights, projector and pooling started from a pretrained head (SHA-256 {code(str(start.sha256))}, "
        f"recipe {markdown(str(record.get('recipe', 'unknown')))}, on {heard}) and {kept}.{pairs}{transductive}"
    ]


def _audio(config: ExportConfig) -> str:
    cut = "" if config.max_duration_s is None else f"As in training, the first {config.max_duration_s:g} s are used. "
    trimmed = "As in training, digital zeros at both ends are left out. " if config.trim_zeros else ""
    clean = (
        ""
        if config.preparation is None
        else f"As in training, recordings are cleaned first: {markdown(config.preparation)}. "
    )
    return cut + trimmed + clean


def _results(config: ExportConfig) -> list[str]:
    if config.results is None:
        return ["No results came with these heads: they were not taken from a finished run."]
    protocol = config.results.protocol
    table = results_table(config.results, superb_rows(config.upstream.name))
    numbers = ", ".join(map(str, config.folds))
    held = f"This folder holds the head of fold {numbers}."
    if len(config.folds) > 1:
        held = (
            f"This folder holds the heads of folds {numbers}, whose probabilities are averaged. The figures are those "
            "of single heads, each on its own fold; the average has no figure, since every speaker of the corpus was "
            "in the training data of some head."
        )
    if config.results.is_pooled and config.results.headline is not None:
        held += (
            " The figures to quote are those over the predictions of all folds together (pooled), not the means over "
            f"folds: {markdown(str(config.results.headline.reason))}."
        )
    return [
        f"Protocol {code(protocol.name)}: each fold is tested once, with the checkpoint that "
        f"{markdown(str(protocol.selection))} selected; dev: {markdown(str(protocol.dev))}. {held}",
        block(table),
        block(confusion_table(config.results)),
    ]


def _limitations(config: ExportConfig) -> list[str]:
    return [
        f"- Trained on one corpus ({markdown(config.corpus.name)}) and tested on it only. Corpora of emotional speech "
        "are mostly acted or elicited, with few speakers, one language and clean recordings; expect lower accuracy "
        "elsewhere.\n"
        f"- One of {', '.join(map(markdown, config.labels))} is always answered, whatever is heard: other emotions, "
        "mixtures, noise, music and silence too. Probabilities are not calibrated.\n"
        "- Labels are what listeners or actors took an utterance for, not what a speaker felt.\n"
        "- Made for research. Not for diagnosis or therapy, surveillance, hiring, or any decision about a person.",
    ]


def _licence(config: ExportConfig) -> list[str]:
    corpus = config.corpus
    terms = "not known to s3prl-emotion" if corpus.licence is None else markdown(corpus.licence)
    cited = "" if corpus.citation is None else f" Citation: {markdown(corpus.citation)}."
    versions = ", ".join(markdown(f"{name} {value}") for name, value in (config.versions or {}).items() if value)
    return [
        f"These weights were learned from {markdown(corpus.name)} on {markdown(config.upstream.name)}: the terms of "
        f"both apply. Licence of the corpus: {terms}.{cited}",
        f"Exported with {versions}.",
    ]
