"""Log power spectrogram with a window of 16 ms and a shift of 4 ms, as arXiv 2312.11503 feeds its MobileNetV2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.requirements import requires

if TYPE_CHECKING:
    import torch
    from torch import nn

WINDOW = 256  # samples, 16 ms
HOP = 64  # samples, 4 ms
FLOOR = 1e-10  # of the power, -100 dB


def _check(ckpt: str | None) -> None:
    if ckpt is not None:
        raise UpstreamError(f"-u spectrogram_16ms_4ms has no weights and reads no checkpoint: leave -k {ckpt} out")


@requires(_check)
def spectrogram_16ms_4ms(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """129 bins, ln of the power of a Hann window, one state; nothing is trained in it.

    Length of window and shift are the paper's; the Hann window, the logarithm and its floor of 1e-10 are ours.

    Raises:
        UpstreamError: if a checkpoint is given
    """
    _check(ckpt)
    import torch
    from torchaudio.transforms import Spectrogram

    class LogSpectrogram(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.power = Spectrogram(WINDOW, hop_length=HOP, pad_mode="constant")

        def get_downsample_rates(self, key: str | None = None) -> int:
            return HOP

        def forward(self, wavs: list[torch.Tensor]) -> dict[str, Any]:
            frames = [self.power(wav).clamp(min=FLOOR).log().T for wav in wavs]  # (frames, 129) each
            states = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
            return {"hidden_states": (states,), "last_hidden_state": states}

    return LogSpectrogram()
