"""Plan of a contrastive pretraining: speech of several sources, an upstream, settings, and exclusions."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest, Utterance, corpora
from s3prl_emotion.corpora.speech import SpeechSource, united
from s3prl_emotion.errors import ConfigError, CorpusError
from s3prl_emotion.experiment.preparation import checked
from s3prl_emotion.features.forms import Form
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.pretraining import plan as shared
from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_audio
from s3prl_emotion.pretraining.settings import plain
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.s3prl_runner import arguments
from s3prl_emotion.s3prl_runner.building import register_on_hub
from s3prl_emotion.s3prl_runner.cache import open_cache
from s3prl_emotion.s3prl_runner.registration import register
from s3prl_emotion.s3prl_runner.selection import check_has_frames, check_upstream
from s3prl_emotion.upstreams.per_fold import of_fold, upstream_sha256
from s3prl_emotion.upstreams.resolution import resolve

logger = logging.getLogger(__name__)

RECIPE = "contrastive"
SPEECH = "speech"
"""The folder of the sources' checked manifests."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveRequest(shared.PretrainRequest):
    """What to pretrain; ``corpus`` is the one whose folds matter: None takes the first of ``speech`` that is a corpus.

    Args:
        settings: of all stages
        speech: what to hear, see :mod:`s3prl_emotion.corpora.speech`
        checkpoint: ``-k`` of the upstream
        model_config: ``-g`` of the upstream
    """

    settings: ContrastiveSettings
    speech: tuple[str, ...]
    checkpoint: str | None = None
    model_config: str | None = None


@dataclass(frozen=True)
class Upstream:
    """The upstream whose hidden states are trained on, as S3PRL has it on its hub."""

    name: str
    checkpoint: str | None = None
    model_config: str | None = None

    def sha256(self, fold: int | None = None) -> dict[str, str | None]:
        """What it is known by; of one fold, where it has a model for each."""
        checkpoint = self.checkpoint if fold is None else of_fold(self.checkpoint, fold)
        return {"checkpoint": upstream_sha256(checkpoint), "model_config": upstream_sha256(self.model_config)}


@dataclass(frozen=True)
class ContrastivePlan:
    """A checked request: everything that the stages need to know."""

    wanted: ContrastiveRequest
    folder: Path
    upstream: Upstream
    sources: tuple[SpeechSource, ...]
    speech: Manifest  # all sources as one, see s3prl_emotion.corpora.speech.united
    manifest: Manifest | None  # the corpus that is divided
    folds: Folds | None
    inductive: bool
    device: str

    @property
    def settings(self) -> ContrastiveSettings:
        """Of all stages."""
        return self.wanted.settings

    @property
    def numbers(self) -> tuple[int | None, ...]:
        """The folds to work on; None alone where one pretraining serves all: nothing is divided, or everything may be
        heard."""
        if self.folds is None or not self.inductive:
            return (None,)
        return self.wanted.folds or tuple(fold.number for fold in self.folds.folds)

    def place(self, fold: int | None) -> Path:
        """The folder of a fold, or of all."""
        return self.folder if fold is None else self.folder / f"fold{fold}"

    def heard(self, fold: int | None) -> Manifest:
        """The utterances that a fold's pretraining may hear, in the order of ``speech``; None: all.

        Of the divided corpus: its training part, and its dev part unless the protocol keeps dev speakers apart from
        training. Of other releases of the same recordings: the speakers who are in no part that is held out. Of other
        sources: the speakers of whom nothing sounds like an utterance that is held out, where the protocol keeps test
        speakers apart. Of all: what does not sound like an utterance that is held out.
        """
        if fold is None or self.folds is None or self.manifest is None or not self.inductive:
            return self.speech
        away = [self.manifest.by_id[name] for name in shared.excluded_ids(self.folds, fold)]
        sounds = {item.sound for item in away}
        voices = {item.speaker for item in away}
        allowed = shared.pretraining_ids(self.folds, fold)
        apart = protocols.get(self.folds.protocol).speaker_disjoint_test
        same = {item.speaker for item in self.speech.utterances if item.corpus != self.divided and item.sound in sounds}

        def is_heard(item: Utterance) -> bool:
            if item.sound in sounds or (apart and item.speaker in same):
                return False
            if item.corpus == self.divided:
                return own_id(item) in allowed
            return not (apart and item.corpus in self.relatives and own_speaker(item) in voices)

        return self.speech.with_utterances(item for item in self.speech.utterances if is_heard(item))

    def told(self, fold: int | None) -> Manifest:
        """What was heard, as the audit of a later run compares it: the divided corpus' speakers as it calls them."""
        near = {self.divided, *self.relatives}
        return self.speech.with_utterances(
            dataclasses.replace(item, speaker=own_speaker(item)) if item.corpus in near else item
            for item in self.heard(fold).utterances
        )

    @functools.cached_property
    def divided(self) -> str | None:
        """The source that is the divided corpus; None if it is not heard."""
        found = [item.name for item in self.sources if _is_divided(item, self.wanted)]
        return found[0] if found else None

    @functools.cached_property
    def relatives(self) -> frozenset[str]:
        """Sources that are other releases of the recordings of the divided corpus."""
        if self.wanted.corpus is None:
            return frozenset()
        cited = _citation(self.wanted.corpus)
        names = {item.name: item.corpus for item in self.sources}
        return frozenset(
            name for name, corpus in names.items() if cited and name != self.divided and _citation(corpus) == cited
        )

    def arguments(self, fold: int | None) -> argparse.Namespace:
        """S3PRL's arguments of the upstream, for :mod:`s3prl_emotion.s3prl_runner`."""
        return arguments.arguments(
            upstream=self.upstream.name,
            upstream_ckpt=of_fold(self.upstream.checkpoint, fold),
            upstream_model_config=self.upstream.model_config,
            device=self.device,
            seed=self.wanted.seed,
        )

    def states(self, fold: int | None, form: Form = "frames") -> CachedUpstream:
        """The hidden states of what a fold hears, stored where they are not yet; numbers are positions in
        :meth:`heard`.

        Args:
            fold: None for all
            form: what is kept of every layer
        """
        args = self.arguments(fold)
        hashes = upstream_sha256(args.upstream_ckpt), upstream_sha256(args.upstream_model_config)
        return open_cache(args, self.heard(fold), self.wanted.cache_options, hashes, form)

    def stage(
        self, name: str, fold: int | None, settings: Mapping[str, Any], inputs: Mapping[str, str | None]
    ) -> Stage:
        """A stage of this run, with what every stage depends on.

        Args:
            name: of the stage
            fold: None if it is the same for all
            settings: of the stage
            inputs: further inputs' hashes
        """
        heard = self.heard(fold)
        audio = sha256_of_audio(heard, [item.id for item in heard.utterances])
        everything = {**settings, "seed": self.wanted.seed}
        return Stage(self.place(fold) / name, RECIPE, name, fold, everything, {"audio": audio, **inputs})


def own_id(item: Utterance) -> str:
    """An utterance's id in its source."""
    return item.id.removeprefix(f"{item.corpus}/")


def own_speaker(item: Utterance) -> str:
    """An utterance's speaker as its source calls them."""
    return item.speaker.removeprefix(f"{item.corpus}:")


def make_plan(wanted: ContrastiveRequest) -> ContrastivePlan:
    """Check a request, read all speech, divide the corpus if there is one, and write down what the folder is for.

    Raises:
        EmotionError: if a source cannot be used, fewer than two speakers are left, the upstream cannot be used, the
            protocol does not allow what is asked for, or the folder holds another run
    """
    register()
    sources = _sources(wanted.speech)
    wanted = _with_corpus(wanted, sources)
    upstream = find_upstream(wanted)
    protocol, inductive = None, wanted.inductive is not False
    spoken = "+".join(source.name for source in sources)
    if wanted.corpus is None:
        _refuse_division(wanted)
        folder_name = f"{spoken}{shared.seed_name(wanted)}"
    else:
        protocol, inductive = shared.protocol_of(wanted, wanted.corpus)
        run_name = shared.run_name(wanted, wanted.corpus, protocol, inductive)
        folder_name = run_name if spoken == wanted.corpus else f"{spoken}-for-{run_name}"
        if wanted.folds is not None and not inductive:
            raise ConfigError(f"--fold: under {protocol.name} one pretraining serves all folds; leave it out")
        if wanted.settings.cluster.by == "labels" and not inductive:
            raise ConfigError(
                f"cluster.by: labels under {protocol.name} would read the labels of what is tested on: give --inductive"
            )
    folder = wanted.folder or wanted.root / RECIPE / upstream.name.replace("/", "__") / folder_name
    identity = shared.identity_of(
        wanted,
        RECIPE,
        None if protocol is None else protocol.name,
        inductive,
        upstream={"name": upstream.name, **upstream.sha256()},
        speech=[_identity(source) for source in sources],
        hears=plain(wanted.settings.speech),
    )
    shared.check_folder(folder, identity)
    manifest, folds = None, None
    if wanted.corpus is not None and protocol is not None:
        manifest, folds = shared.division_of(wanted, wanted.corpus, protocol.name, folder)
    parts = [(source.name, _checked(wanted, source, folder, manifest)) for source in sources]
    speech = _usable(united(parts), wanted.settings.speech.min_s)
    shared.claim_folder(folder, identity)
    device = arguments.resolve_device(wanted.device)
    return ContrastivePlan(wanted, folder, upstream, sources, speech, manifest, folds, inductive, device)


def find_upstream(wanted: ContrastiveRequest) -> Upstream:
    """The upstream on S3PRL's hub.

    Raises:
        UpstreamError: if there is none, or its files cannot be used
    """
    options = register_on_hub(resolve(wanted.upstream, wanted.checkpoint, wanted.model_config)).options
    check_upstream(*options)
    check_has_frames(options[0], "pretraining")
    return Upstream(*options)


def _sources(texts: Sequence[str]) -> tuple[SpeechSource, ...]:
    """What ``--speech`` names.

    Raises:
        CorpusError: if there is nothing, or two have the same name or are the same recordings
    """
    if not texts:
        raise CorpusError("--speech is missing: what to hear? A corpus with its folder, such as --speech emodb4=DIR")
    found = tuple(SpeechSource.parse(text) for text in texts)
    cited: dict[str, str] = {}
    names: set[str] = set()
    for item in found:
        if item.name in names:
            raise CorpusError(
                f"--speech: two sources are called {item.name}. Name one of them otherwise: NAME={item.place}"
            )
        names.add(item.name)
        citation = _citation(item.corpus)
        if citation and citation in cited:
            raise CorpusError(f"--speech: {cited[citation]} and {item.name} are the same recordings. Take one of them")
        cited[citation] = item.name
    return found


def _citation(corpus: str | None) -> str:
    """What a corpus of known recordings is cited as; empty of others."""
    entry = None if corpus is None else corpora.get(corpus)
    return entry.citation if entry is not None and entry.labels and not entry.named_by_data else ""


def _with_corpus(wanted: ContrastiveRequest, sources: Sequence[SpeechSource]) -> ContrastiveRequest:
    """The request with the corpus whose folds matter, and its data."""
    if wanted.corpus is not None:
        same = [item for item in sources if item.corpus == wanted.corpus]
        data = wanted.data or (same[0].place if same else None)
        return dataclasses.replace(wanted, data=data)
    if wanted.data is not None:
        raise ConfigError(f"--data {wanted.data}: of which corpus? Name it with --corpus, or as --speech CORPUS=DIR")
    first = next((item for item in sources if item.corpus is not None), None)
    return wanted if first is None else dataclasses.replace(wanted, corpus=first.corpus, data=first.place)


def _refuse_division(wanted: ContrastiveRequest) -> None:
    for flag, value in (
        ("--protocol", wanted.protocol),
        ("--fold", wanted.folds),
        ("--inductive", wanted.inductive),
        ("--corpus-option", wanted.corpus_options or None),
        ("--drop-leaks", wanted.drop_leaks or None),
    ):
        if value is not None:
            raise ConfigError(
                f"{flag}: nothing is divided, since no corpus is named: give it with --corpus C --data DIR, or hear it "
                "with --speech C=DIR"
            )


def _is_divided(source: SpeechSource, wanted: ContrastiveRequest) -> bool:
    data = None if wanted.data is None else wanted.data.expanduser().absolute()
    return source.corpus is not None and source.corpus == wanted.corpus and source.place == data


def _identity(source: SpeechSource) -> dict[str, Any]:
    """What a source is known by; a table or manifest by its content too."""
    file = checkpoint_sha256(str(source.place)) if source.place.is_file() else None
    return {
        "name": source.name,
        "place": str(source.place),
        "corpus": source.corpus,
        "pattern": source.pattern,
        "sha256": file,
    }


def _checked(wanted: ContrastiveRequest, source: SpeechSource, folder: Path, divided: Manifest | None) -> Manifest:
    """A source's checked manifest, from the folder if an earlier start left it there."""
    if divided is not None and _is_divided(source, wanted):
        return divided
    path = folder / SPEECH / f"{source.name}.jsonl"
    if path.is_file() and (folder / shared.RECIPE_FILE).is_file():
        return Manifest.read(path)
    problems = path.with_name(f"{source.name}-problems.csv")
    manifest = checked(source.read(), source.name, problems, wanted.skip_bad, wanted.trim_zeros)
    manifest.write(path)
    return manifest


def _usable(speech: Manifest, min_s: float) -> Manifest:
    """The utterances that are long enough.

    Raises:
        CorpusError: if fewer than two speakers are left
    """
    kept = speech.with_utterances(item for item in speech.utterances if (item.duration_s or 0.0) >= min_s)
    if len(kept.utterances) < len(speech.utterances):
        logger.warning(
            "left out %d of %d utterances shorter than %g s (speech.min_s)",
            len(speech.utterances) - len(kept.utterances),
            len(speech.utterances),
            min_s,
        )
    if len(kept.speakers) < 2:
        told = f"one speaker only ({kept.speakers[0]})" if kept.speakers else f"no utterance of {min_s:g} s or more"
        raise CorpusError(f"{speech.corpus}: {told}: contrastive pretraining needs several speakers. Add --speech")
    return kept
