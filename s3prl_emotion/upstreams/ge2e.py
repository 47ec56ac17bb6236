"""Location and content of the weights of Resemblyzer's speaker encoder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from s3prl_emotion.errors import UpstreamError

if TYPE_CHECKING:
    from torch import Tensor

HOP = 160  # samples; the encoder's mel spectrogram has 40 channels, a window of 25 ms and a step of 10 ms


def file_of(checkpoint: str | None) -> Path:
    """The file that is named, or the one in the wheel.

    Raises:
        UpstreamError: if none is named, and there is no wheel
    """
    if checkpoint is not None:
        return Path(checkpoint)
    wheel = find_spec("resemblyzer")
    if wheel is None or wheel.origin is None:
        raise UpstreamError("-u ge2e needs Resemblyzer: pip install Resemblyzer")
    return Path(wheel.origin).with_name("pretrained.pt")


def weights_of(checkpoint: str | None) -> dict[str, Tensor]:
    """The encoder's parameters, from a file or from the wheel, which carries them.

    Raises:
        UpstreamError: if neither is there, or the file holds something else
    """
    from s3prl_emotion.upstreams.files import check_numbers, first_keys, load

    path = file_of(checkpoint)
    content = load(path)
    found: dict[str, Tensor] | None = content.get("model_state")
    if not isinstance(found, dict):
        raise UpstreamError(f"{path}: expected Resemblyzer's model_state, found keys {first_keys(content)}")
    check_numbers(found, path)
    return found
