"""torchaudio's checkpoints: what tensor shapes tell, and what they do not."""

from __future__ import annotations

import pytest
import tiny
import torch
from torchaudio.models import wav2vec2_model

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.torchaudio import architecture, encoder_weights


@pytest.mark.parametrize(
    ("width", "layers", "mode", "heads"), [(768, 12, "group_norm", 12), (1024, 24, "layer_norm", 16)]
)
def test_published_sizes_need_the_normalisation_only(tmp_path, width: int, layers: int, mode: str, heads: int) -> None:
    """Heads and the place of normalisation follow from the size; nothing is allocated: shapes are enough."""
    first = mode == "layer_norm"
    with torch.device("meta"):
        arguments = {
            **tiny.TORCHAUDIO,
            "extractor_mode": mode,
            "encoder_embed_dim": width,
            "encoder_num_layers": layers,
            "encoder_num_heads": heads,
            "encoder_pos_conv_groups": 16,
            "encoder_layer_norm_first": first,
        }
        weights = wav2vec2_model(**arguments, aux_num_out=None).state_dict()
    path = tmp_path / "base.pt"
    with pytest.raises(UpstreamError, match="a state dict does not tell normalize_waveform: write it"):
        architecture(encoder_weights(weights, path), path, None)
    settings = tmp_path / "settings.json"
    settings.write_text('{"normalize_waveform": true}')
    found = architecture(encoder_weights(weights, path), path, settings)
    assert (found.arguments["encoder_num_heads"], found.arguments["encoder_layer_norm_first"]) == (heads, first)
    assert found.normalize_waveform
    assert found.downsample_rate == 320
    told = {name: found.arguments[name] for name in tiny.TORCHAUDIO if not name.endswith(("dropout", "layer_drop"))}
    assert told == {name: arguments[name] for name in told}
