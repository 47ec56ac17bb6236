"""What ``-u`` can be, without importing S3PRL or torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import s3prl_emotion
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.s3prl_runner import upstream_registry
from s3prl_emotion.s3prl_runner.guard import check_given
from s3prl_emotion.upstreams import names


def test_every_name_of_the_hub_is_known() -> None:
    found = names.hub_names()
    assert found is not None
    theirs = {name for name, ours in upstream_registry.upstream_names().items() if not ours}
    assert theirs <= set(found.functions) | found.imported
    assert len(set(found.functions) & theirs) > 100
    for name in set(found.functions) & theirs:
        names.check_name(name)


HEAVY = """
import sys
from s3prl_emotion.cli import main
status = main(["{command}", "-u", "{name}", "-d", "emotion_mean", "--demo"])
heavy = [name for name in ("torch", "transformers", "s3prl", "torchaudio", "s3prl.hub") if name in sys.modules]
print(status, heavy)
"""


@pytest.mark.parametrize(("command", "name"), [("run", "fbnak"), ("sweep", "fbank,hubert_bas"), ("run", "")])
def test_a_misspelt_name_is_answered_without_loading_anything_large(command: str, name: str) -> None:
    script = HEAVY.format(command=command, name=name)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 []"
    assert "Did you mean 'fbank'" in done.stderr or "'hubert_base'" in done.stderr or "names no upstream" in done.stderr


def test_fbank_does_not_need_transformers() -> None:
    script = (
        "import sys\n"
        "from s3prl_emotion.s3prl_runner.building import build, register_on_hub\n"
        "from s3prl_emotion.s3prl_runner.selection import check_upstream\n"
        "from s3prl_emotion.upstreams.resolution import resolve\n"
        "found = register_on_hub(resolve('fbank', None, None))\n"
        "check_upstream(*found.options)\n"
        "build(found, 'cpu')\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'transformers'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.slow
def test_a_run_on_fbank_does_not_need_transformers(demo_root, tmp_path) -> None:
    """The whole command: training, scoring, then predicting with its head."""
    short = "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2"
    options = ("-u", "fbank", "-d", "emotion_mean", "--corpus", "demo", "--data", str(demo_root), "--fold", "1")
    script = (
        "import sys\n"
        "from s3prl_emotion.cli import main\n"
        f"main({['run', *options, '-o', short, '-p', 'run', '--cache-root', 'cache', '--device', 'cpu']!r})\n"
        f"main({['predict', '--run', 'run', str(next(demo_root.rglob('*.wav'))), '--device', 'cpu']!r})\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'transformers'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "probabilities" in done.stdout or "predicted" in done.stdout, done.stderr
    assert done.stdout.strip().endswith("[]")


def test_advice_names_variants_that_exist() -> None:
    from s3prl_emotion.upstreams.explanation import explained

    known = upstream_registry.upstream_names()
    for upstream, variants in (("byol_a_512", []), ("hubert_base", ["hubert_custom", "hubert_local"])):
        with pytest.raises(UpstreamError) as caught, explained(upstream):
            raise OSError("no network")
        words = [word.strip(".,") for word in str(caught.value).split()]
        assert [word for word in words if word in known and word != upstream] == variants
        assert "_local variant" not in str(caught.value)


def test_what_ignores_a_checkpoint_says_so_whatever_the_file_is(tmp_path) -> None:
    from s3prl_emotion.s3prl_runner.building import register_on_hub
    from s3prl_emotion.upstreams.resolution import resolve

    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(UpstreamError, match=r"-u fbank ignores -k: it always loads its own checkpoint"):
        register_on_hub(resolve("fbank", "x.safetensors", None))


def test_a_folder_where_a_file_is_expected(tmp_path) -> None:
    with pytest.raises(
        UpstreamError, match=rf"-k {tmp_path}: a folder, -u hubert_local reads a file.*hf_auto_custom -k"
    ):
        check_given("hubert_local", str(tmp_path), None)
    with pytest.raises(UpstreamError, match=r"-g nowhere: no such file"):
        check_given("baseline_local", None, "nowhere")


@pytest.fixture
def my_tiny(tmp_path: Path, tiny_hubert: Path) -> Path:
    return shutil.copytree(tiny_hubert, tmp_path / "upstreams" / "my_tiny")


def test_s3prls_own_interface_finds_what_is_dropped(my_tiny: Path, tmp_path) -> None:
    s3prl_emotion.register()
    from s3prl.nn import S3PRLUpstream

    for name in ("my_tiny", "upstreams/my_tiny"):
        upstream = S3PRLUpstream(name).eval()
        assert (upstream.num_layers, upstream.hidden_sizes) == (3, [16, 16, 16])
        with torch.no_grad():
            states, lengths = upstream(torch.randn(2, 16000), torch.tensor([16000, 8000]))
        assert states[0].shape[-1] == 16
        assert int(lengths[0][0]) > int(lengths[0][1])
    with pytest.raises(AttributeError, match=r"-u 'my_tinny' is not an upstream .* Did you mean 'my_tiny'"):
        S3PRLUpstream("my_tinny")
    (tmp_path / "upstreams" / "broken").mkdir()
    with pytest.raises(
        UpstreamError, match=r"broken: expected a folder in transformers format, config.json is missing"
    ):
        S3PRLUpstream("broken")


def test_a_head_whose_adapter_is_not_installed() -> None:
    from s3prl_emotion.upstreams.reference import UpstreamRef
    from s3prl_emotion.upstreams.verification import verify

    with pytest.raises(
        UpstreamError, match=r"theirs: this head was trained on an upstream whose adapter is not installed"
    ):
        verify(UpstreamRef("theirs"))


def test_load_speaks_python(tmp_path) -> None:
    from s3prl_emotion.inference.wording import in_python

    assert (
        in_python("give -k PATH, where that file is now") == "give load(..., checkpoint=PATH), where that file is now"
    )
    assert in_python("-k a/b.pt: its SHA-256 is x") == "checkpoint=a/b.pt: its SHA-256 is x"
    assert in_python("add --trust-checkpoint") == "add load(..., trust_checkpoint=True)"
    assert in_python("-u fbank: see well-known -keys") == "upstream fbank: see well-known -keys"
