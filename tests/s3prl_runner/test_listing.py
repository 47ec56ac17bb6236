"""``ls upstreams``: every name with what is known of it, and broken ones with what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s3prl_emotion.cli import main
from s3prl_emotion.upstreams.listing import COLUMNS, UpstreamRow, upstream_rows

FIRST = "encoder.layers.0.attention.q_proj.weight"


@pytest.fixture
def rows(tmp_path: Path, tiny_hubert: Path) -> dict[str, UpstreamRow]:
    folder = tmp_path / "upstreams"
    for name in ("my_hubert", "torn", "fbank"):
        shutil.copytree(tiny_hubert, folder / name)
    weights = folder / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    other = load_file(folder / "my_hubert" / "model.safetensors")
    for name, change in (("lacks", {"feature_projection.projection.bias": None}), ("wide", {FIRST: torch.zeros(3, 3)})):
        shutil.copytree(tiny_hubert, folder / name)
        changed = {key: value for key, value in {**other, **change}.items() if value is not None}
        save_file(changed, folder / name / "model.safetensors")
    torch.save({"a": torch.zeros(1), 2: torch.zeros(1)}, folder / "numbered.pt")
    torch.save({"task_cfg": {}, "model_cfg": {}, "model_weight": [1, 2]}, folder / "listed.pt")
    torch.save({"cfg": {"encoder_layers": 2}, "model": [1]}, folder / "listed_too.pt")
    torch.save({"encoder.transformer.layers.0.x": torch.zeros(1), 3: 4}, folder / "half.pt")
    (folder / "empty").mkdir()
    (folder / "notes.pt").write_text("not weights")
    (folder / "README.txt").write_text("no checkpoint at all")
    return {f"{row.name}{' (dropped)' if 'dropped' in row.source else ''}": row for row in upstream_rows()}


def test_a_dropped_folder_is_described_without_loading_it(rows) -> None:
    """2 layers of width 16; parameters counted by hand below."""
    row = rows["my_hubert (dropped)"]
    assert row.cells() == ("my_hubert", "dropped: upstreams/my_hubert", "3", "16", "50", "0.01 M")
    first = 8 * 1 * 10 + 2 * 8  # kernel 10, layer norm
    convolutions = first + 4 * (8 * 8 * 3 + 2 * 8) + 2 * (8 * 8 * 2 + 2 * 8)
    projection = 2 * 8 + 8 * 16 + 16
    position = 16 * 8 * 16 + 16 + 16  # 2 groups, kernel 16; gain, bias
    block = 4 * (16 * 16 + 16) + 2 * 2 * 16 + (16 * 32 + 32) + (32 * 16 + 16)
    total = convolutions + projection + position + 2 * 16 + 2 * block
    assert row.parameters_millions == pytest.approx(total / 1e6)


def test_broken_ones_say_what_is_wrong(rows) -> None:
    assert "torn or incomplete (1000 bytes)" in rows["torn (dropped)"].problem
    assert "config.json is missing; it is empty" in rows["empty (dropped)"].problem
    assert "neither safetensors nor written by torch.save" in rows["notes (dropped)"].problem
    assert rows["fbank (dropped)"].problem == "not used: fbank is a name of S3PRL; rename it"
    assert "README (dropped)" not in rows


def test_weights_that_do_not_fit_show_in_their_headers(rows) -> None:
    """What ``run`` would say: names and shapes are compared with the configuration's model."""
    assert "1 missing: feature_projection.projection.bias. Is it" in rows["lacks (dropped)"].problem
    assert f"1 of another shape: {FIRST} (file (3, 3), model (16, 16))" in rows["wide (dropped)"].problem


def test_files_of_unforeseen_structure_do_not_stop_the_list(rows) -> None:
    assert "no known format (keys a, 2)" in rows["numbered (dropped)"].problem
    assert "no known format (keys task_cfg, model_cfg, model_weight)" in rows["listed (dropped)"].problem
    assert "no known format (keys cfg, model)" in rows["listed_too (dropped)"].problem
    assert "names and tensors only, 3 is none" in rows["half (dropped)"].problem


def test_names_of_s3prl_and_ours(rows) -> None:
    assert rows["fbank"].cells() == ("fbank", "s3prl", "1", "240", "100", "0.00 M")
    assert rows["wavlm_large"].cells() == ("wavlm_large", "s3prl", "25", "1024", "50", "316.62 M")
    assert rows["hubert"].parameters_millions == rows["hubert_base"].parameters_millions == 94.68
    assert rows["hubert_local"].cells()[2:] == ("-", "-", "-", "-")
    assert rows["hf_auto_custom"].source == rows["torchaudio_custom"].source == "s3prl-emotion"
    assert "Path" not in rows, "a class that S3PRL's hub imports is no upstream"
    assert sum(row.source == "s3prl" for row in rows.values()) >= 190


FUNCTIONALS = ["egemaps_functionals", "compare_functionals"]
KNOWN = ["fbank", "fbank_no_cmvn", "mfcc", "ge2e", "librosa94", "prosody", "egemaps", "spectrogram_16ms_4ms"]


@pytest.mark.parametrize("name", [*KNOWN, *FUNCTIONALS])
def test_known_sizes_are_those_of_the_upstream(rows, name, tmp_path, recwarn) -> None:
    from s3prl import hub

    checkpoint = {}
    if name in ("egemaps", *FUNCTIONALS):
        pytest.importorskip("opensmile")
    if name == "ge2e":
        state = {f"lstm.{key}": value for key, value in torch.nn.LSTM(40, 256, 3).state_dict().items()}
        torch.save({"model_state": state}, tmp_path / "random.pt")
        checkpoint = {"ckpt": str(tmp_path / "random.pt")}
    upstream = getattr(hub, name)(**checkpoint).eval()
    states = upstream([torch.randn(16000)])["hidden_states"]
    count = sum(parameter.numel() for parameter in upstream.parameters())
    row = rows[name]
    assert (row.facts.states, row.facts.width) == (len(states), states[0].shape[2])
    rate_hz = None if name in FUNCTIONALS else 16000 / upstream.get_downsample_rates("hidden_states")
    assert row.facts.rate_hz == rate_hz
    assert row.parameters_millions == pytest.approx(count / 1e6, abs=5e-3)


def test_the_command_prints_the_table(rows, capsys) -> None:
    assert main(["ls", "upstreams"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == " ".join(COLUMNS).split()
    assert len(lines) == 2 + len(rows)
    assert lines[-1].startswith("Of dropped checkpoints, settings, names and shapes were read here")
    row = next(line for line in lines if line.startswith("my_hubert"))
    assert row.split() == ["my_hubert", "dropped:", "upstreams/my_hubert", "3", "16", "50", "0.01", "M"]
    assert "torn or incomplete" in next(line for line in lines if line.startswith("torn"))
    assert all(line == line.rstrip() for line in lines)
