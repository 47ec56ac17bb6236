"""Speech to text by a model in transformers format: found, checked, and loaded without executing anything."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    MODEL_FOR_CTC_MAPPING,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    AutomaticSpeechRecognitionPipeline,
    GenerationConfig,
)

from s3prl_emotion.audio import SAMPLE_RATE_HZ
from s3prl_emotion.config import shown
from s3prl_emotion.errors import ConfigError, UpstreamError
from s3prl_emotion.files import parse_json
from s3prl_emotion.random_state import preserved_random_state
from s3prl_emotion.text.loading import find_model, name_of, read_tokenizer, weights_of
from s3prl_emotion.upstreams.files import check_numbers, misfit
from s3prl_emotion.upstreams.pretrained import BROKEN, filled, first_line, quiet, read_settings, skeleton
from s3prl_emotion.upstreams.transformers import read_extractor
from s3prl_emotion.upstreams.weights import own_part, read_weights

logger = logging.getLogger(__name__)

DEFAULT = "openai/whisper-base"
"""That of arXiv 2312.11503."""
_GENERATION: dict[str, tuple[float, float]] = {
    "num_beams": (1, 64),
    "num_beam_groups": (1, 1),
    "num_return_sequences": (1, 1),
    **dict.fromkeys(("max_length", "max_new_tokens"), (1, 10_000)),
    **dict.fromkeys(("num_assistant_tokens", "prompt_lookup_num_tokens"), (1, 100)),
}
"""Settings of generation with the smallest and largest number that fits any memory; the bounds are ours."""
_FROM_HUB = ("penalty_alpha", "dola_layers", "force_words_ids", "constraints", "custom_generate")
_LARGEST = 1_000_000  # of any other number
_MOST_VALUES = 10_000
_UNUSED = ("masked_spec_embed", "quantizer", "project_q", "project_hid")
"""Beginnings of names of what only pretraining needs."""


@dataclass(frozen=True)
class RecogniserFacts:
    """What a file of transcriptions says of the model that wrote it."""

    model: str
    model_sha256: str
    kind: str  # ctc or seq2seq
    revision: str | None
    language: str | None


class SpeechRecogniser:
    """Waveforms to text, by transformers' own pipeline; it computes, and nothing in it is trained.

    What is written of an utterance does not depend on the others of its batch: models whose padding is not masked run
    one utterance at a time.

    Args:
        model: a folder in transformers format, or a Hub id
        device: where to compute
        language: told to a Whisper that knows several; without it each utterance's is guessed
        revision: a commit, of a Hub id

    Raises:
        UpstreamError: if it recognises no speech, or a file of it is missing, broken, or executes code
        ConfigError: if a language is given to a model that takes none
    """

    def __init__(self, model: str, device: str, language: str | None = None, revision: str | None = None) -> None:
        source = find_model(model, "speech recogniser", revision)
        folder = Path(source.place)
        self._config = read_settings(folder)
        kind, mapping = _kind(folder, self._config)
        self._extractor = read_extractor(folder, self._config)
        tokenizer = read_tokenizer(folder)
        if self._config.model_type == "whisper" and not hasattr(tokenizer, "_decode_asr"):
            raise UpstreamError(
                f"{folder}: its tokenizer is a {type(tokenizer).__name__}, expected Whisper's: "
                f"WhisperTokenizer.from_pretrained(WHERE IT COMES FROM).save_pretrained({str(folder)!r})"
            )
        if tokenizer.pad_token is None:  # batches need one; what pads is masked, or after the end
            tokenizer.pad_token = tokenizer.eos_token
        state = weights_of(folder)
        state = own_part(state, skeleton(folder, self._config, state, mapping), str(folder), _UNUSED)
        check_numbers(state, str(folder))
        _check_language(folder, tokenizer, state)
        with preserved_random_state():
            self._model, report = filled(mapping, self._config, state, str(folder))
        _check_fit(f"{folder} ({self._config.model_type})", report)
        self._generation = self._settings(folder, language)
        # found by content, as for upstreams: where it lies is told to nobody
        self.facts = RecogniserFacts(name_of(source), str(source.sha256), kind, source.revision, language)
        with quiet():
            self._pipeline = AutomaticSpeechRecognitionPipeline(
                model=self._model.float().eval(),
                tokenizer=tokenizer,
                feature_extractor=self._extractor,
                device=device,
            )

    @property
    def masks_padding(self) -> bool:
        """Whether utterances of different lengths may share a batch: Whisper's all have the length of its window."""
        return self._window_s is not None or bool(getattr(self._extractor, "return_attention_mask", False))

    @property
    def _window_s(self) -> float | None:
        return float(self._extractor.chunk_length) if self._config.model_type == "whisper" else None

    def transcribe(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """Waveforms at 16 kHz, each ``(samples,)``, to texts without white space at their ends."""
        window = self._window_s
        together = [
            number
            for number, samples in enumerate(waveforms)
            if self.masks_padding and (window is None or len(samples) <= window * SAMPLE_RATE_HZ)
        ]
        texts: dict[int, str] = {}
        if together:
            texts.update(zip(together, self._texts([waveforms[number] for number in together]), strict=True))
        for number, samples in enumerate(waveforms):
            if number not in texts:  # longer than the window: in overlapping parts, put together by the pipeline
                texts[number] = self._texts([samples], **({} if window is None else {"chunk_length_s": window}))[0]
        return [texts[number] for number in range(len(waveforms))]

    def _texts(self, waveforms: Sequence[np.ndarray], **given: Any) -> list[str]:
        items = [{"raw": np.asarray(samples), "sampling_rate": SAMPLE_RATE_HZ} for samples in waveforms]
        options = {**given, **({"generate_kwargs": self._generation} if self._generation else {})}
        try:
            with quiet(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = self._pipeline(items, batch_size=len(items), **options)
        except BROKEN as error:
            raise UpstreamError(
                f"{self.facts.model}: transformers' pipeline fails on {len(items)} utterances: {type(error).__name__}: "
                f"{first_line(error)}. If it is memory, lower --batch-size; else its files do not fit each other"
            ) from error
        return [str(item["text"]).strip() for item in found]

    def _settings(self, folder: Path, language: str | None) -> dict[str, Any]:
        """What generation is told; the model's own settings are read besides."""
        path = folder / "generation_config.json"
        if path.is_file():
            try:
                parse_json(path.read_text(encoding="utf-8"))
                self._model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
            except BROKEN as error:
                raise UpstreamError(f"{path}: {first_line(error)}. Copy or download it again") from error
        _check_generation(
            getattr(self._model, "generation_config", None), path if path.is_file() else folder / "config.json"
        )
        if language is None:
            return {}
        settings = getattr(self._model, "generation_config", None)
        known = getattr(settings, "lang_to_id", None) or {}
        if not known:
            raise ConfigError(
                f"--language {language}: {folder} takes none (no Whisper, or one of a single language); leave it out"
            )
        codes = sorted(token.strip("<|>") for token in known)
        if language not in codes:
            raise ConfigError(f"--language {language}: expected one of {', '.join(codes)}")
        return {"language": language, "task": "transcribe"}


def _check_generation(settings: Any, path: Path) -> None:
    """Refuse what would fill the memory, write several texts of one utterance, or is code from the Hub.

    Raises:
        UpstreamError: naming file and key
    """
    for name, value in (settings.to_dict() if settings is not None else {}).items():
        least, most = _GENERATION.get(name, (-math.inf, _LARGEST))
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in _GENERATION and not is_number and value is not None:
            raise UpstreamError(f"{path}: {name} is {shown(value)}, expected a number")
        if is_number and not least <= value <= most:
            raise UpstreamError(
                f"{path}: {name} is {shown(value)}, expected {f'{least} to' if least > 0 else 'at most'} {most}"
            )
        if name in _FROM_HUB and value:
            raise UpstreamError(
                f"{path}: {name} is {shown(value)}: transformers has that as code from the Hub, which is not executed. "
                "Leave it out"
            )
        if isinstance(value, (list, tuple, dict)) and len(value) > _MOST_VALUES:
            raise UpstreamError(f"{path}: {name} holds {len(value)} values, expected at most {_MOST_VALUES}")


def _kind(folder: Path, config: Any) -> tuple[str, Any]:
    for kind, mapping in (("seq2seq", MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING), ("ctc", MODEL_FOR_CTC_MAPPING)):
        if type(config) in mapping:
            return kind, mapping[type(config)]
    raise UpstreamError(
        f"{folder}: {config.model_type!r} recognises no speech. Expected a model that transformers has for speech to "
        "text: whisper, speech_to_text, ..., or wav2vec2, hubert, wavlm, ... fine-tuned with CTC"
    )


def _check_fit(where: str, report: dict[str, Any]) -> None:
    names = [[str(name) for name in report[key]] for key in ("missing_keys", "unexpected_keys")]
    missing, surplus = ([name for name in found if not _is_unused(name)] for found in names)
    shapes = [f"{name} (file {tuple(given)}, model {tuple(own)})" for name, given, own in report["mismatched_keys"]]
    if any(name.startswith("lm_head") for name in missing):
        raise UpstreamError(
            f"{where}: it was not trained to write: the layer that chooses letters (lm_head) is not in the weights. "
            "Name a checkpoint that was fine-tuned with CTC"
        )
    misfit(where, missing, surplus, shapes)


def _check_language(folder: Path, tokenizer: Any, state: Mapping[str, Tensor]) -> None:
    """Refuse letters of one language for weights of another: MMS has adapters of each in files beside the model."""
    language = getattr(tokenizer, "target_lang", None)
    path = folder / f"adapter.{language}.safetensors"
    if not isinstance(language, str) or path.parent != folder or not path.is_file():
        return
    adapter = read_weights([path], str(path))
    other = [name for name, value in adapter.items() if name not in state or not torch.equal(state[name], value)]
    if other:
        raise UpstreamError(
            f"{folder}: its tokenizer writes {language!r}, and its weights are of another language: {other[0]} is not "
            f"that of {path.name}. Save it with that: AutoModelForCTC.from_pretrained(WHERE IT COMES FROM, "
            f"target_lang={language!r}, ignore_mismatched_sizes=True).save_pretrained({str(folder)!r})"
        )


def _is_unused(name: str) -> bool:
    return any(part.startswith(_UNUSED) for part in name.split("."))
