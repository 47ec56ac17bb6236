"""S3PRL imports on the installed libraries, untouched, and afterwards knows our parts."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import io
import subprocess
import sys
import wave
from pathlib import Path

import pytest
import torch
import torchaudio

import s3prl_emotion
from s3prl_emotion.s3prl_runner import arguments, registration, shims, upstream_registry


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    s3prl_emotion.register()


def test_import_is_light() -> None:
    code = (
        "import sys, s3prl_emotion, s3prl_emotion.corpora, s3prl_emotion.evaluation, s3prl_emotion.reporting.table\n"
        "import s3prl_emotion.cli\n"
        "print([name for name in ('torch', 's3prl', 'transformers', 'torchaudio') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_hub_loads_without_transformers_and_without_a_word() -> None:
    code = (
        "import sys, s3prl_emotion; s3prl_emotion.register(); s3prl_emotion.register()\n"
        "from s3prl import hub\n"
        "assert 'transformers' not in sys.modules\n"
        "print(len(hub.options()) >= 196, callable(hub.hf_hubert_custom), callable(hub.hf_auto_custom))"
    )
    done = subprocess.run([sys.executable, "-W", "error::FutureWarning", "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("True True True", "")


def test_registering_twice_adds_one_finder_and_edits_no_file() -> None:
    import s3prl

    def state() -> tuple[int, str]:
        finders = sum(isinstance(finder, registration._DownstreamFinder) for finder in sys.meta_path)
        sources = sorted(Path(s3prl.__file__).parent.rglob("*.py"))
        return finders, hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()

    before = state()
    s3prl_emotion.register()
    assert state() == before
    assert before[0] == 1


@pytest.mark.parametrize("name", registration.downstream_configs())
def test_every_downstream_has_an_expert_in_s3prl(name: str) -> None:
    expert = importlib.import_module(f"s3prl.downstream.{name}.expert").DownstreamExpert
    if name in registration.STOCK_DOWNSTREAMS:
        assert expert.__module__ == f"s3prl.downstream.{name}.expert"
    else:
        from s3prl_emotion.downstream.expert import DownstreamExpert

        assert expert is DownstreamExpert


def test_other_names_are_left_to_s3prl() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("s3prl.downstream.emotion_nonsense.expert")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("s3prl.downstream.emotion_mean.other")


def test_our_upstreams_are_on_the_hub() -> None:
    from s3prl import hub

    for name, function in upstream_registry.upstreams().items():
        assert getattr(hub, name) is function
        assert "ckpt" in inspect.signature(function).parameters


def test_audio_is_loaded_as_torchaudio_did() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(b"\x00\x40\x00\xc0" * 5)
    for options, shape in (({}, (2, 5)), ({"channels_first": False}, (5, 2)), ({"num_frames": 3}, (2, 3))):
        buffer.seek(0)
        samples, rate = torchaudio.load(buffer, **options)
        assert (tuple(samples.shape), rate, samples.dtype) == (shape, 8000, torch.float32)
    assert samples[:, 0].tolist() == [0.5, -0.5]


def test_what_is_gone_says_so_when_it_is_used() -> None:
    if "sox_effects" in shims.apply():
        with pytest.raises(NotImplementedError, match=r"torchaudio 2\.8 is the last release"):
            torchaudio.sox_effects.apply_effects_tensor(None, 16000, [])
    if "huggingface_hub_names" in shims.apply():
        import huggingface_hub

        with pytest.raises(NotImplementedError, match="huggingface_hub"):
            huggingface_hub.HfFolder.get_token()


def test_our_arguments_are_those_of_s3prl(monkeypatch) -> None:
    """The Runner's namespace has S3PRL's names and defaults, and ``run`` has S3PRL's flags."""
    from s3prl import run_downstream

    from s3prl_emotion.cli.run import add_arguments

    captured: list[argparse.ArgumentParser] = []

    class Stop(Exception):
        pass

    def parse_args(self: argparse.ArgumentParser, *_: object) -> None:
        captured.append(self)
        raise Stop

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(Stop):
        run_downstream.get_downstream_args()
    monkeypatch.undo()
    theirs = {action.dest: action for action in captured[0]._actions if action.dest != "help"}
    assert {name: action.default for name, action in theirs.items()} == {
        **arguments.ARGUMENTS,
        "mode": None,  # required there, train by default here
        "push_to_hf_hub": False,
    }
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    ours = {action.dest: action for action in parser._actions}
    for name, action in theirs.items():
        assert set(action.option_strings) <= set(ours[name].option_strings), name
        assert ours[name].nargs == action.nargs, name
        if name not in ("mode", "device", "push_to_hf_hub", "seed"):
            assert ours[name].default == action.default, name
    assert ours["seed"].default == 1337
