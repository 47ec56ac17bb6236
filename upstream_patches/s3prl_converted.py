"""Checkpoints that S3PRL converted from fairseq, and Microsoft's WavLM and UniSpeech-SAT, by S3PRL's own models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_emotion.errors import UpstreamError

if TYPE_CHECKING:
    from torch import nn


def s3prl_converted(ckpt: str, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """The family is read from the file; its model is what ``-u <family>_custom`` builds.

    Unlike there, a frozen upstream runs utterances of different length one by one, so that features do not depend on
    batch mates.

    Args:
        ckpt: a file with ``task_cfg``, ``model_cfg`` and ``model_weight``, or with ``cfg`` and ``model``

    Raises:
        UpstreamError: if it is another file, or weights do not fit its configuration
    """
    import torch

    from s3prl_emotion.upstreams.files import first_keys, load, shortened
    from s3prl_emotion.upstreams.formats import check_settings, converted_family
    from s3prl_emotion.upstreams.waveform import joined

    content = load(Path(ckpt), peek=True)
    family = converted_family(content)
    if family is None:
        raise UpstreamError(f"{ckpt}: no checkpoint that S3PRL converted: keys {first_keys(content)}")
    check_settings(content, family, ckpt)
    from s3prl import hub

    try:
        build = getattr(hub, f"{family}_custom", None) or getattr(hub, f"{family}_local")
        model = build(ckpt)
    except (RuntimeError, ValueError, TypeError, AssertionError, KeyError) as error:
        said = shortened(str(error)) or f"{type(error).__name__}: its settings are none that S3PRL's model has"
        raise UpstreamError(f"{ckpt} ({family}): the weights do not fit. {said}") from error

    class Converted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def get_downsample_rates(self, key: str | None = None) -> int:
            return int(self.model.get_downsample_rates(key))

        def forward(self, wavs: list[torch.Tensor]) -> dict[str, Any]:
            if self.training or len({len(wav) for wav in wavs}) == 1:
                states = tuple(self.model(wavs)["hidden_states"])
            else:
                states = joined([tuple(self.model([wav])["hidden_states"]) for wav in wavs])
            return {"hidden_states": states, "last_hidden_state": states[-1]}

    return Converted()
