"""Fine-tuning options of an upstream of any format: masks, layer-drop, frozen convolutions.

Everything is done from outside by hooks that act in training only. So the parameters of an upstream, and what it
computes in evaluation, are those of the checkpoint, and the same weights are fine-tuned alike in every format.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s3prl_emotion.config import from_mapping
from s3prl_emotion.downstream.config import FinetuneConfig
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.pretraining.objective import MaskSettings, transformers_mask
from s3prl_emotion.random_state import preserved_random_state
from s3prl_emotion.s3prl_runner.building import build, ref_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TunedParts:
    """The modules of an upstream that fine-tuning settings act on; None, or empty, where it has none that is known."""

    feature_encoder: nn.Module | None = None  # convolutions over the waveform
    projection: nn.Module | None = None  # gives what the blocks are given: (batch, frames, width)
    mask_embedding: Tensor | None = None  # (width,): stands where a frame is masked; zeros where there is none
    blocks: Sequence[nn.Module] = ()  # each takes and gives hidden states as the first of its values
    width: int = 0


def fine_tune(upstream: nn.Module, config: Mapping[str, Any] | None, name: str) -> None:
    """Prepare an upstream for ``-f``.

    Args:
        upstream: as S3PRL's hub builds it
        config: ``finetune`` of the configuration; None is its default
        name: ``-u``, for messages

    Raises:
        UpstreamError: naming the key, if the upstream cannot do what is asked for
    """
    settings = from_mapping(FinetuneConfig, config or {}, "finetune")
    parts = _known_parts(upstream)
    _check(settings, parts, name)
    if parts.feature_encoder is not None:
        _freeze(upstream, parts.feature_encoder, settings.freeze_feature_encoder)
    if parts.projection is not None and (settings.mask_time_prob > 0 or settings.mask_feature_prob > 0):
        _Masking(settings, parts.mask_embedding).watch(upstream, parts.projection)
    if settings.layerdrop > 0:
        for block in parts.blocks:
            block.register_forward_hook(_LayerDrop(settings.layerdrop), with_kwargs=True)
    logger.info("-u %s is fine-tuned: %s", name, _worded(settings, parts))


def check_fine_tuning(args: argparse.Namespace, config: Mapping[str, Any] | None) -> None:
    """Refuse settings that an upstream cannot do, before anything else is done.

    Args:
        args: S3PRL's arguments; ``upstream_ckpt`` is one model
        config: ``finetune`` of the configuration

    Raises:
        UpstreamError: see :func:`fine_tune`
    """
    settings = from_mapping(FinetuneConfig, config or {}, "finetune")
    if settings == FinetuneConfig():
        return  # every upstream can
    with preserved_random_state():
        _check(settings, _known_parts(build(ref_of(args), "cpu")), args.upstream)


def _known_parts(upstream: nn.Module) -> TunedParts:
    """The parts of transformers', torchaudio's and fairseq's models, which upstreams hold as ``model``."""
    model: Any = upstream
    while model is not None:
        if hasattr(model, "config") and hasattr(model, "base_model_prefix"):
            return _of_transformers(model)
        encoder: Any = getattr(model, "encoder", None)
        if hasattr(model, "mask_emb") and hasattr(model, "dropout_input") and hasattr(encoder, "layers"):
            embedding: Tensor = model.mask_emb
            return TunedParts(model.feature_extractor, model.dropout_input, embedding, encoder.layers, len(embedding))
        if hasattr(encoder, "transformer") and hasattr(encoder, "feature_projection"):
            projection = encoder.feature_projection
            width = int(projection.projection.out_features)
            return TunedParts(model.feature_extractor, projection, None, encoder.transformer.layers, width)
        model = getattr(model, "model", None)
    return TunedParts()


def _of_transformers(model: Any) -> TunedParts:
    """transformers' models mask and drop layers by their own configuration, which is turned off here."""
    config = model.config
    config.apply_spec_augment = False  # data2vec masks where nothing is said
    for place, name in ((config, "layerdrop"), (model, "layerdrop")):
        if hasattr(place, name):
            setattr(place, name, 0.0)
    projection = getattr(model, "feature_dropout", None) or getattr(model, "feature_projection", None)
    encoder = getattr(model, "encoder", model)  # Whisper's encoder is one itself
    embedding = getattr(model, "masked_spec_embed", None)
    blocks = tuple(getattr(encoder, "layers", ()))
    return TunedParts(getattr(model, "feature_extractor", None), projection, embedding, blocks, int(config.hidden_size))


def _check(settings: FinetuneConfig, parts: TunedParts, name: str) -> None:
    def refused(key: str, why: str, instead: str) -> UpstreamError:
        return UpstreamError(
            f"-u {name}: finetune.{key} is {getattr(settings, key)}, but {why}. Use -o config.finetune.{key}={instead}"
        )

    for key in ("mask_time_prob", "mask_feature_prob"):
        if getattr(settings, key) > 0 and parts.projection is None:
            raise refused(key, "what its blocks are given is not known here, so nothing can be masked", "0")
    if settings.mask_feature_prob > 0 and settings.mask_feature_length > parts.width:
        raise refused("mask_feature_length", f"its hidden states have {parts.width} channels", str(parts.width // 10))
    if settings.layerdrop > 0 and not parts.blocks:
        raise refused("layerdrop", "its transformer blocks are not known here", "0")


def _freeze(upstream: nn.Module, encoder: nn.Module, frozen: bool) -> None:
    if frozen and hasattr(encoder, "_freeze_parameters"):  # transformers else asks for the waveform's gradient
        encoder._freeze_parameters()  # type: ignore[operator]
    for parameter in encoder.parameters():
        parameter.requires_grad_(not frozen)
    for module in upstream.modules():
        if hasattr(module, "feature_grad_mult"):  # of fairseq's models: 0 computes them without gradient
            module.feature_grad_mult = 0.0 if frozen else 1.0  # type: ignore[assignment]


class _Masking:
    """SpecAugment on what the blocks are given: frames become the mask embedding (0 without one), channels 0.

    Draws follow torch's generator, which a resumed training restores.
    """

    def __init__(self, settings: FinetuneConfig, embedding: Tensor | None) -> None:
        self._settings, self._embedding = settings, embedding
        self._samples: list[int] = []

    def watch(self, upstream: nn.Module, projection: nn.Module) -> None:
        """Mask the output of ``projection``, which its blocks are given, in every training step from now on."""
        rate = int(upstream.get_downsample_rates("hidden_states"))  # type: ignore[operator]

        def before(_: nn.Module, inputs: tuple[Any, ...], given: dict[str, Any]) -> None:
            waveforms = inputs[0] if inputs else given["wavs"]
            self._samples = [len(waveform) for waveform in waveforms]

        def after(module: nn.Module, _: Any, output: Any) -> Any:
            if not module.training:
                return None
            if isinstance(output, tuple):
                return (self._masked(output[0], rate), *output[1:])
            return self._masked(output, rate)

        upstream.register_forward_pre_hook(before, with_kwargs=True)
        projection.register_forward_hook(after)

    def _masked(self, states: Tensor, rate: int) -> Tensor:
        """``(batch, frames, width)``, masked; padding never is."""
        rows, frames, width = states.shape
        lengths = [min(samples // rate, frames) for samples in self._samples]
        drawn = np.random.default_rng(int(torch.randint(2**62, ())))
        given, embedding = self._settings, self._embedding
        if given.mask_time_prob > 0:
            rule = MaskSettings("transformers", given.mask_time_prob, given.mask_time_length, given.mask_time_min_masks)
            found = np.zeros((rows, frames), dtype=bool)
            mask = transformers_mask(lengths, rule, [drawn] * rows)
            found[:, : mask.shape[1]] = mask
            where = torch.from_numpy(found).to(states.device)
            masked = states.new_zeros(()) if embedding is None else embedding.to(states.dtype)
            states = torch.where(where[..., None], masked, states)
        if given.mask_feature_prob > 0:
            rule = MaskSettings(
                "transformers", given.mask_feature_prob, given.mask_feature_length, given.mask_feature_min_masks
            )
            mask = transformers_mask([width] * rows, rule, [drawn] * rows)
            states = states.masked_fill(torch.from_numpy(mask).to(states.device)[:, None], 0.0)
        return states


class _LayerDrop:
    """A block gives on what it was given, with a probability: as if it were not there."""

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def __call__(self, block: nn.Module, inputs: tuple[Any, ...], given: dict[str, Any], output: Any) -> Any:
        if not block.training or float(torch.rand(())) >= self._probability:
            return None
        states = inputs[0] if inputs else given["hidden_states"]
        return (states, *output[1:]) if isinstance(output, tuple) else states


def _worded(settings: FinetuneConfig, parts: TunedParts) -> str:
    values = ", ".join(f"{key} {value}" for key, value in asdict(settings).items() if key != "freeze_feature_encoder")
    if settings.mask_time_prob > 0 and parts.mask_embedding is None:
        values += " (masked frames are zeros: the checkpoint holds no mask embedding)"
    if parts.feature_encoder is None:
        return f"{values}; no convolutional feature encoder is known of it, so all of it is trained"
    return (
        f"{values}; its convolutional feature encoder is {'frozen' if settings.freeze_feature_encoder else 'trained'}"
    )
