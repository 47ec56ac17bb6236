"""What answers for one fold: a neural head with its layer weights, or a classical model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from s3prl_emotion.classical import Choice
from s3prl_emotion.classical._model import Model, vectors
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.downstream.head import Head
from s3prl_emotion.downstream.weights import load_weights
from s3prl_emotion.errors import RunError
from s3prl_emotion.features.layer_sum import LayerSum
from s3prl_emotion.features.ragged import pack
from s3prl_emotion.inference.parts import FoldParts, Parts
from s3prl_emotion.s3prl_runner.selection import over_time

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
