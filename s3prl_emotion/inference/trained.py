"""A trained run as a recogniser of emotion in any audio."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from s3prl_emotion.audio import SAMPLE_RATE_HZ, AudioError
from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.classical import Choice
from s3prl_emotion.classical.model import Model, vectors
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.downstream.head import Head
from s3prl_emotion.errors import RunError
from s3prl_emotion.features.ragged import LayerSum, pack
from s3prl_emotion.inference.export import write_export
from s3prl_emotion.inference.export_files import Features
from s3prl_emotion.inference.parts import FoldParts, Parts
from s3prl_emotion.inference.sources import read_parts
from s3prl_emotion.module_weights import load_weights
from s3prl_emotion.s3prl_runner.arguments import resolve_device
from s3prl_emotion.s3prl_runner.building import build_frozen, register_on_hub
from s3prl_emotion.s3prl_runner.registration import register
from s3prl_emotion.s3prl_runner.selection import check_upstream, over_time, probe_waveform, states
from s3prl_emotion.upstreams.hub import TOKENIZER_FILES
from s3prl_emotion.upstreams.per_fold import is_per_fold, ref_of_fold
from s3prl_emotion.upstreams.reference import Places
from s3prl_emotion.upstreams.trust import trusted_checkpoints
from s3prl_emotion.upstreams.verification import check_same_name, verified, verify

Answers = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""States ``(layers, frames, width)`` of a recording, and what is said in it ``(1, text_size)`` for heads that read it,
to probabilities ``(classes,)`` and frame weights ``(frames,)``.
"""


def build_head(parts: Parts, fold: FoldParts, layers: int, width: int, device: str, text_size: int = 0) -> Answers:
    """The head of a fold on a device.

    Args:
        parts: of the run
        fold: of ``parts``
        layers: of the upstream
        width: of its frames
        device: where to
        text_size: of the vector of what is said; 0 for heads that read nothing

    Raises:
        RunError: if head and upstream do not fit each other
    """
    if fold.classical is not None and parts.choice is not None:
        return _classical(fold.classical, parts.choice, fold.number, parts.upstream.name, layers, width)
    if parts.model is None:
        raise RunError(f"fold {fold.number}: holds neither a head nor a classical model")
    return _neural(parts, parts.model, fold, (layers, width, text_size), device)


def _neural(parts: Parts, model: ModelConfig, fold: FoldParts, sizes: tuple[int, int, int], device: str) -> Answers:
    layers, width, text_size = sizes
    learned = 1 if fold.layer_weights is None else len(fold.layer_weights)
    if learned != layers:
        raise RunError(
            f"fold {fold.number} has weights for {learned} layers, and {parts.upstream.name} gives "
            f"{layers}: it is not the upstream that the head was trained on"
        )
    layer_sum = LayerSum(layers, parts.use.normalize)
    head = Head(width, len(parts.labels), model, text_size)
    try:
        if fold.layer_weights is not None:
            load_weights(layer_sum, {"weights": fold.layer_weights})
        load_weights(head, fold.head)
    except RuntimeError as error:
        raise RunError(
            f"fold {fold.number}: its parameters do not fit a head on {parts.upstream.name} (width "
            f"{width}): {' '.join(str(error).split())[:300]}"
        ) from error
    for module in (layer_sum, head):
        module.to(device).eval().requires_grad_(False)

    def answer(block: Tensor, said: Tensor | None) -> tuple[Tensor, Tensor]:
        features = pack([layer_sum([block])])
        return head(features, said)[0].float().softmax(dim=-1), head.frame_weights(features)[0].float()

    return answer


def _classical(model: Model, choice: Choice, fold: int, upstream: str, layers: int, width: int) -> Answers:
    def features(block: Tensor) -> Tensor:
        return over_time(block, choice.statistics).cpu()

    given = vectors(features(torch.zeros(layers, 1, width))[None].numpy(), choice).shape[1]
    if given != model.width:
        raise RunError(
            f"fold {fold} was fitted on {model.width} features, and {upstream} gives {given}: it is not the upstream "
            "that the model was fitted on"
        )

    def answer(block: Tensor, said: Tensor | None) -> tuple[Tensor, Tensor]:
        probabilities = model.probabilities(vectors(features(block)[None].numpy(), choice))[0]
        frames = block.shape[1]
        return torch.from_numpy(probabilities).float(), torch.full((frames,), 1 / frames)

    return answer


@dataclass(frozen=True)
class Recognition:
    """Emotion probabilities and frame weights of one recording.

    Frame ``i`` begins at ``start_s + i / frame_rate_hz`` seconds of the file. How far it reaches depends on the
    upstream: one frame of a transformer has seen the whole recording.
    """

    file: str | None  # as it was given; None for an array
    predicted: str  # the label with the highest probability
    probabilities: dict[str, float]  # per label, in the order of the classes; they sum to 1
    frame_weights: tuple[float, ...]  # share of each frame in the pooled vector; they sum to 1
    frame_rate_hz: float
    duration_s: float  # of the whole recording
    start_s: float = 0.0  # where the first frame begins; after 0 where digital zeros were left out
    text: str | None = None  # what is said, as given or heard; None where the heads do not read it

    @property
    def times_s(self) -> tuple[float, ...]:
        """Where each frame begins, in seconds."""
        return tuple(self.start_s + index / self.frame_rate_hz for index in range(len(self.frame_weights)))

    def strongest_second(self) -> tuple[float, float, float] | None:
        """The second with the largest sum of frame weights: its start and end in seconds, and that sum.

        Returns:
            the first of them if several are equal; everything where there is no more than a second; None where all
            frames weigh the same, as in mean pooling
        """
        weights = np.asarray(self.frame_weights)
        if np.allclose(weights, weights[0], rtol=1e-4):
            return None
        size = min(len(weights), max(1, round(self.frame_rate_hz)))
        sums = np.convolve(weights, np.ones(size), mode="valid")
        first = int(sums.argmax())
        begin = self.start_s + first / self.frame_rate_hz
        end = min(begin + size / self.frame_rate_hz, self.duration_s)
        return begin, end, float(min(1.0, sums[first]))

    def as_dict(self, attention: bool = False) -> dict[str, Any]:
        """What JSON can hold, with the frame weights if ``attention``."""
        row: dict[str, Any] = {
            "file": self.file,
            "predicted": self.predicted,
            "probabilities": self.probabilities,
            "duration_s": self.duration_s,
        }
        if self.text is not None:
            row["text"] = self.text
        if attention:
            row |= {
                "frame_rate_hz": self.frame_rate_hz,
                "start_s": self.start_s,
                "frame_weights": list(self.frame_weights),
            }
        return row


if TYPE_CHECKING:
    from s3prl_emotion.inference.transcripts import TranscriptSource

logger = logging.getLogger(__name__)


class EmotionRecogniser:
    """Trained heads of a run on their upstream. It computes; nothing in it is trained or changed.

    With several folds, their probabilities and frame weights are averaged. That ensemble is not what ``results.json``
    scores: there each fold is tested alone, on speakers that it was not trained on. Every speaker of the corpus is in
    the training data of some fold, so the corpus itself can give no figure for the ensemble.

    Each recording is run alone, without padding, as hidden states are stored for training. So a result does not depend
    on other recordings, and equals the run's own test prediction to the precision of the stored states. Runs without
    stored states (``-f``, ``--no-cache``) were tested in padded batches, which changes the features of some upstreams.

    Args:
        parts: heads, and what is known about them; the upstream is verified, as :meth:`load` has it
        device: where to compute
        asr: what hears for heads that read text, see :meth:`load`

    Raises:
        UpstreamError: if the upstream cannot be built
        RunError: if heads and upstream do not fit each other
    """

    def __init__(self, parts: Parts, device: str, asr: str | None = None) -> None:
        self.parts = parts
        self.device = device
        use = parts.use
        register()
        ref = register_on_hub(parts.upstream)
        check_upstream(*ref.options)
        shared = None if use.fine_tuned or is_per_fold(ref.options[1]) else build_frozen(ref, device)
        self._upstreams = [
            build_frozen(ref_of_fold(ref, fold.number), device, fold.upstream) if shared is None else shared
            for fold in parts.folds
        ]
        self.rate = int(self._upstreams[0].get_downsample_rates(use.selection))  # samples per frame
        self._listener: TranscriptSource | None = None
        if parts.text is not None:
            from s3prl_emotion.inference.transcripts import TranscriptSource  # which loads transformers

            self._listener = TranscriptSource(parts, device, asr)
        if self._listener is None and asr is not None:
            raise RunError(f"asr {asr}: these heads ({parts.downstream}) read no text; leave it out")
        text_size = 0 if self._listener is None else self._listener.output_size
        self.layers, _, self.width = self._states(0, probe_waveform(device)).shape
        self._heads = [build_head(parts, fold, self.layers, self.width, device, text_size) for fold in parts.folds]

    @classmethod
    def load(
        cls,
        source: str | Path,
        fold: int | str | None = None,
        device: str | None = None,
        upstream: str | None = None,
        checkpoint: str | Path | None = None,
        model_config: str | Path | None = None,
        trust_checkpoint: bool = False,
        text_encoder: str | Path | None = None,
        asr: str | None = None,
    ) -> EmotionRecogniser:
        """Load a run folder, a fold's folder, a checkpoint of the Runner, or an exported folder.

        Args:
            source: where from
            fold: one fold's number; None or ``"all"`` takes all finished folds and averages them
            device: where to compute; None takes the GPU where there is one
            upstream: not needed; if given, it must be the one that the head was trained on
            checkpoint: where the upstream's checkpoint (``-k``) is now, if it was moved
            model_config: the same for ``-g``
            trust_checkpoint: let the upstream's checkpoint execute the code that it brings along
            text_encoder: where the text encoder is now, if it was moved
            asr: of heads that read text: a speech recogniser (a folder or Hub id), where texts are not given

        Raises:
            RunError: if there is nothing trained, or upstream or checkpoint are not those of the training
            UpstreamError: if the upstream cannot be built
        """
        parts = read_parts(source, fold)
        check_same_name(parts.upstream, upstream)
        with trusted_checkpoints(trust_checkpoint):
            ref = verify(parts.upstream, Places(checkpoint, model_config))
            text = verified("--text-encoder", parts.text, text_encoder, parts.downstream, TOKENIZER_FILES)
            return cls(dataclasses.replace(parts, upstream=ref, text=text), resolve_device(device), asr)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.parts.labels

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds whose heads are averaged."""
        return tuple(fold.number for fold in self.parts.folds)

    @property
    def reads_text(self) -> bool:
        """Whether the heads read what is said."""
        return self._listener is not None

    def predict(
        self,
        audio: str | Path | np.ndarray | Iterable[str | Path | np.ndarray],
        texts: str | Iterable[str | None] | None = None,
    ) -> list[Recognition]:
        """Recognise several recordings, in their order; with a progress bar if there are many and a terminal.

        Args:
            audio: audio files, or arrays of shape ``(samples,)`` at 16 kHz; one of these alone is a list of one
            texts: what is said in each, for heads that read it; None has it heard

        Raises:
            AudioError: for the first that cannot be used; :meth:`recognise` takes them one by one
        """
        items = [audio] if isinstance(audio, (str, Path, np.ndarray)) else list(audio)
        said = [texts] * len(items) if texts is None else [texts] if isinstance(texts, str) else list(texts)
        if len(said) != len(items):
            raise RunError(f"texts: expected one for each of {len(items)} recordings, got {len(said)}")
        few = len(items) < 10
        pairs = tqdm(list(zip(items, said, strict=True)), desc="recognise", disable=True if few else None)
        return [self.recognise(item, text) for item, text in pairs]

    def export(self, folder: str | Path) -> Path:
        """Write the heads, with layer weights, configuration and model card, as a folder that :meth:`load` reads.

        Raises:
            RunError: if the folder holds anything but an earlier export
        """
        return write_export(self.parts, Features(SAMPLE_RATE_HZ, self.rate, self.width, self.layers), folder)

    @torch.no_grad()
    def recognise(
        self, audio: str | Path | np.ndarray, text: str | None = None, is_prepared: bool = False
    ) -> Recognition:
        """Recognise one recording.

        Args:
            audio: an audio file of any sampling rate, or an array of shape ``(samples,)`` at 16 kHz
            text: what is said, for heads that read it; None has it heard
            is_prepared: it comes from a prepared corpus, whose recordings are trimmed and cleaned already

        Raises:
            AudioError: if it cannot be read, holds less than 25 ms, or is too long for the device's memory
            RunError: if the heads read no text, or need one that is neither given nor heard
        """
        name = "the array" if isinstance(audio, np.ndarray) else str(audio)
        preparation = self.parts.preparation
        if is_prepared:
            preparation = Preparation(preparation.max_duration_s)
        prepared = preparation.of_array(audio) if isinstance(audio, np.ndarray) else preparation.prepare(audio)
        for _, message in [] if is_prepared else prepared.oddities:
            logger.warning("%s: %s: what is recognised in it may mean nothing", name, message)
        if self._listener is not None:
            text = self._listener.said(audio, text, name)
        elif text is not None:
            raise RunError(f"text {text[:40]!r}: these heads ({self.parts.downstream}) read no text; leave it out")
        try:
            probabilities, weights = self._compute(torch.from_numpy(prepared.samples).to(self.device), text)
        except torch.cuda.OutOfMemoryError as error:
            raise AudioError(
                f"{name}: its {prepared.duration_s:.0f} s do not fit into the memory of {self.device}. Cut it, or use "
                "--device cpu",
                kind="long",
            ) from error
        values = probabilities.cpu().tolist()
        return Recognition(
            file=None if isinstance(audio, np.ndarray) else name,
            predicted=self.labels[int(probabilities.argmax())],
            probabilities=dict(zip(self.labels, values, strict=True)),
            frame_weights=tuple(weights.cpu().tolist()),
            frame_rate_hz=SAMPLE_RATE_HZ / self.rate,
            duration_s=prepared.duration_s,
            start_s=prepared.start_s,
            text=text,
        )

    def _compute(self, waveform: Tensor, text: str | None) -> tuple[Tensor, Tensor]:
        """A waveform ``(samples,)`` to probabilities ``(classes,)`` and frame weights ``(frames,)``."""
        probabilities, weights = [], []
        block = None
        for index, head in enumerate(self._heads):
            if block is None or self.parts.use.fine_tuned:
                block = self._states(index, waveform)
            said = None
            if self._listener is not None and text is not None:
                said = self._listener.vector(index, text, self.device)
            found = head(block, said)
            probabilities.append(found[0])
            weights.append(found[1])
        return torch.stack(probabilities).mean(dim=0), torch.stack(weights).mean(dim=0)

    def _states(self, index: int, waveform: Tensor) -> Tensor:
        use = self.parts.use
        return states(self._upstreams[index], waveform, selection=use.selection, layer=use.layer, rate=self.rate)
