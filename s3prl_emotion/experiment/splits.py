"""Corpus, texts and splits of a run, loaded once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError, EmotionError, RunError
from s3prl_emotion.evaluation.metrics import ua, wa
from s3prl_emotion.experiment.preparation import check_leaks, prepare
from s3prl_emotion.files import write_atomically
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import FoldFolder, RunFolder
from s3prl_emotion.runs.plan import CorpusChoice, TrainingSpec
from s3prl_emotion.runs.prediction import read_predictions
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.text.choice import TextChoice, choose_texts, parse_text_choice, texts_sha256

logger = logging.getLogger(__name__)


class SplitCache(dict[str, tuple[Manifest, Folds]]):
    """A corpus and its division, by the protocol's name, and why it cannot be used: both are found out once."""

    def __init__(self, known: Mapping[str, tuple[Manifest, Folds]] | None = None) -> None:
        super().__init__(known or {})
        self.refused: dict[tuple[str, ...], EmotionError] = {}  # by protocol and what may say what was heard before

    @contextlib.contextmanager
    def remembering(self, protocol: str, learned: Sequence[Path]) -> Iterator[None]:
        """Refuse at once what was refused before."""
        key = (protocol, *(str(place) for place in learned if place.is_dir()))
        if key in self.refused:
            raise self.refused[key]
        try:
            yield
        except EmotionError as error:
            self.refused[key] = error
            raise


def load_splits(
    corpus: CorpusChoice,
    protocol: str,
    wanted: tuple[int, ...] | None,
    learned: Sequence[Path],
    folder: RunFolder,
    prepared: SplitCache,
    known: bool,
) -> tuple[Manifest, Folds, tuple[int, ...]]:
    """The corpus as a checked manifest, its folds, and which of them to run.

    Args:
        corpus: what to divide
        protocol: how
        wanted: the folds asked for; None for all
        learned: the upstream's checkpoint, and a pretrained head: folders that may say what was heard before
        folder: of the run
        prepared: what other runs have prepared; filled in
        known: an earlier start left manifest and folds in the folder

    Raises:
        EmotionError: naming the file, the leak or the fold
    """
    manifest, folds = _prepare(corpus, protocol, learned, folder, prepared, known)
    numbers = tuple(fold.number for fold in folds.folds)
    for number in wanted or numbers:
        if number not in numbers:
            raise ConfigError(f"--fold {number}: {corpus.name} has folds {', '.join(map(str, numbers))}")
    return manifest, folds, wanted or numbers


def _prepare(
    corpus: CorpusChoice, protocol: str, learned: Sequence[Path], folder: RunFolder, prepared: SplitCache, known: bool
) -> tuple[Manifest, Folds]:
    """The corpus as a checked manifest and its folds, from the run folder if an earlier start left them there."""
    if known:
        _, manifest, folds = folder.whole()
        check_leaks(manifest, folds, folder, corpus.pretraining, learned)
        return manifest, folds
    with prepared.remembering(protocol, learned):
        if protocol in prepared:
            manifest, folds = prepared[protocol]
            check_leaks(manifest, folds, folder, corpus.pretraining, learned)
            folder.write_division(manifest, folds)
            return manifest, folds
        prepared[protocol] = prepare(
            corpus.name,
            corpus.data,
            corpus.options,
            protocol,
            folder,
            corpus.skip_bad,
            corpus.trim_zeros,
            corpus.drop_leaks,
            corpus.pretraining,
            learned,
            corpus.making,
        )
    return prepared[protocol]


def log_score(fold: FoldFolder, number: int, begun_s: float) -> None:
    """UA and WA of a finished fold, in the log; ``begun_s`` is of :func:`time.monotonic`."""
    rows, labels = read_predictions(fold.predictions)
    pair = [row.truth for row in rows], [row.predicted for row in rows]
    logger.info(
        "fold %d: UA %.2f %%, WA %.2f %% on %d test utterances (%.0f s)",
        number,
        100 * ua(*pair, labels),
        100 * wa(*pair, labels),
        len(rows),
        time.monotonic() - begun_s,
    )


def settle_text(text: str | None, allow_empty: bool, training: TrainingSpec) -> tuple[TextChoice | None, TrainingSpec]:
    """What a run reads as being said, and its training with the encoder's place written out.

    Args:
        text: ``--text``
        allow_empty: ``--allow-empty-text``
        training: what is trained

    Returns:
        None for a head that reads no text

    Raises:
        ConfigError: if the options do not fit the head
        UpstreamError: if there is no such encoder
    """
    expert = training.settings.expert
    config = downstream_kind(training.downstream).model(expert).text
    if config is None:
        for flag, given in (("--text", text is not None), ("--allow-empty-text", allow_empty)):
            if given:
                raise ConfigError(f"{flag}: -d {training.downstream} reads no text; leave it out, or use emotion_text")
        return None, training
    if training.upstream.trainable and not config.speech:
        raise ConfigError(
            f"-f trains the upstream, of which nothing enters -d {training.downstream} (text.speech: false); leave it "
            "out. The text encoder is trained with -o config.downstream_expert.modelrc.text.trainable=True"
        )
    from s3prl_emotion.text.loading import TEXT_ENCODER, find_model

    source = find_model(config.encoder, TEXT_ENCODER)
    choice = dataclasses.replace(parse_text_choice(text, allow_empty), encoder_sha256=source.sha256)
    if source.revision is None:
        model = dataclasses.replace(expert.modelrc, text=dataclasses.replace(config, encoder=source.place))
        settings = dataclasses.replace(training.settings, expert=dataclasses.replace(expert, modelrc=model))
        training = dataclasses.replace(training, settings=settings)
    return choice, training


def put_texts(manifest: Manifest, choice: TextChoice, training: TrainingSpec, folder: RunFolder) -> Manifest:
    """The manifest with the texts of a run, and ``text.json``, which says where they come from and what was cut.

    Raises:
        CorpusError: naming the utterances that have no text
    """
    from s3prl_emotion.text.loading import open_encoder

    config = training.settings.expert.modelrc.text
    manifest, told = choose_texts(manifest, choice)
    opened = open_encoder(config.encoder, config.max_tokens)
    lengths = {item.text: opened.tokens(item.text or "")[1] for item in manifest.utterances}
    cut = [item.id for item in manifest.utterances if lengths[item.text] > opened.max_tokens]
    longest = max(lengths.values(), default=0)
    if cut:
        logger.warning(
            "%d of %d texts have more tokens than the %d that %s takes (the longest %d), first %s: the rest is cut off",
            *(len(cut), len(manifest.utterances), opened.max_tokens, opened.name, longest, cut[0]),
        )
    content: dict[str, Any] = {
        **told,
        "encoder": opened.name,
        "encoder_sha256": opened.source.sha256,
        "encoder_revision": opened.source.revision,
        "trainable": config.trainable,
        "max_tokens": opened.max_tokens,
        "longest": longest,
        "cut": len(cut),
    }
    folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.text, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return manifest


def check_texts(manifest: Manifest, folder: RunFolder) -> None:
    """Refuse a run's manifest whose texts are not those that the run was begun with.

    Raises:
        RunError: naming it
    """
    known = read_json(folder.text, "a run with texts").get("texts_sha256")
    if known != texts_sha256(manifest):
        raise RunError(
            f"{folder.manifest}: its texts are not those that {folder.text.name} has the hash of: it was edited, or "
            "made again. Restore it, or start anew in another folder"
        )
