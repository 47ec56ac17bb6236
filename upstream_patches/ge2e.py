"""Resemblyzer's speaker encoder, trained with the generalised end-to-end loss (Wan et al., ICASSP 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3prl_emotion.upstreams.ge2e import HOP, file_of, weights_of
from s3prl_emotion.upstreams.requirements import requires

if TYPE_CHECKING:
    from torch import nn


def _check(ckpt: str | None) -> None:
    file_of(ckpt)


@requires(_check)
def ge2e(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """The three LSTM layers of width 256 as hidden states, at 100 Hz; the wheel of resemblyzer carries the weights.

    ``ckpt`` may name another checkpoint of that form. As in Resemblyzer a waveform below -30 dBFS is raised to that
    level; silences are kept, so that frames stay in place.

    Raises:
        UpstreamError: if resemblyzer is not installed
    """
    import torch
    from torchaudio.transforms import MelSpectrogram

    weights = weights_of(ckpt)

    class GE2E(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = (40, 256, 256)
            options = {"n_mels": 40, "pad_mode": "constant", "norm": "slaney", "mel_scale": "slaney"}
            self.mel = MelSpectrogram(16000, 400, hop_length=HOP, **options)
            self.layers = torch.nn.ModuleList(torch.nn.LSTM(size, 256, batch_first=True) for size in sizes)
            for number, layer in enumerate(self.layers):
                names = [name.removesuffix("0") for name in layer.state_dict()]
                layer.load_state_dict({f"{name}0": weights[f"lstm.{name}{number}"] for name in names})

        def get_downsample_rates(self, key: str | None = None) -> int:
            return HOP

        def forward(self, wavs: list[torch.Tensor]) -> dict[str, Any]:
            x = torch.nn.utils.rnn.pad_sequence([self.frames(wav) for wav in wavs], batch_first=True)
            states = [x := layer(x)[0] for layer in self.layers]
            return {"hidden_states": tuple(states), "last_hidden_state": states[-1]}

        def frames(self, wav: torch.Tensor) -> torch.Tensor:
            level = 10 * torch.log10(wav.square().mean() + 1e-12)
            mel: torch.Tensor = self.mel(wav * 10 ** ((-30 - level).clamp(0, 90) / 20))
            return mel.T

    return GE2E()
