"""A Python file in ``./upstreams`` is found, listed, and executed only with ``--trust-checkpoint``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import s3prl_emotion
from s3prl_emotion.cli import main
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.s3prl_runner import upstream_registry
from s3prl_emotion.s3prl_runner.building import register_on_hub
from s3prl_emotion.upstreams import reference
from s3prl_emotion.upstreams.reference import UpstreamRef
from s3prl_emotion.upstreams.resolution import resolve
from s3prl_emotion.upstreams.trust import trusted_checkpoints
from s3prl_emotion.upstreams.verification import verify

ENERGY = """
from pathlib import Path

Path(__file__).with_name("RAN").touch()


def energy(ckpt=None, **kwargs):
    import torch

    class Energy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(()) if ckpt is None else torch.load(ckpt))

        def get_downsample_rates(self, key=None):
            return 320

        def forward(self, wavs):
            frames = [torch.nn.functional.pad(wav, (0, 320)).unfold(0, 320, 320) for wav in wavs]
            states = [torch.stack((f.square().mean(1), (1e-6 + f.square().mean(1)).log()), 1) for f in frames]
            padded = self.scale * torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
            return {"hidden_states": [padded, padded.square()], "last_hidden_state": padded.square()}

    return Energy()
"""


@pytest.fixture
def energy(tmp_path: Path):
    s3prl_emotion.register()
    from s3prl import hub

    before, named, modules = set(vars(hub)), set(upstream_registry._named), set(sys.modules)
    path = tmp_path / "upstreams" / "energy.py"
    path.parent.mkdir()
    path.write_text(ENERGY)
    (path.parent / "_helper.py").write_text("raise RuntimeError('no upstream')\n")
    yield path
    for name in set(vars(hub)) - before:
        delattr(hub, name)
    upstream_registry._named.intersection_update(named)
    for name in set(sys.modules) - modules:
        if name.startswith("_s3prl_emotion_dropped_"):
            del sys.modules[name]


def ran(path: Path) -> bool:
    return path.with_name("RAN").exists()


def test_it_is_found_and_listed_without_being_executed(energy: Path, capsys) -> None:
    assert reference.dropin_upstreams() == {"energy": [Path("upstreams/energy.py")]}
    assert main(["ls", "upstreams"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("energy "))
    assert "dropped: upstreams/energy.py" in line
    assert "--trust-checkpoint" in line
    assert not ran(energy)


@pytest.mark.parametrize("name", ["energy", "./upstreams/energy.py"])
def test_it_is_refused_without_trust(name: str, energy: Path, run, capsys) -> None:
    assert run("-u", name, "-d", "emotion_mean", "--fold", "1") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{energy}: Python code, which is executed with your rights: read it first" in said
    assert "--trust-checkpoint" in said
    assert not ran(energy)
    from s3prl import hub

    with pytest.raises(UpstreamError, match="--trust-checkpoint"):
        hub.energy  # noqa: B018
    assert not ran(energy)


def test_it_runs_where_the_user_says_so(energy: Path, run, demo_root, tmp_path, capsys) -> None:
    options = ("-u", "energy", "-d", "emotion_mean", "--fold", "1")
    assert run(*options, "--trust-checkpoint") == 0
    assert ran(energy)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["upstream"], record["checkpoint"]) == ("energy", str(energy))
    assert record["checkpoint_sha256"] == checkpoint_sha256(str(energy))
    audio = str(next(demo_root.rglob("*.wav")))
    predict = ["predict", "--run", str(tmp_path / "run"), audio, "--device", "cpu"]
    assert main([*predict, "--trust-checkpoint"]) == 0
    capsys.readouterr()
    assert main(predict) == 2, "each command is told anew"
    assert "--trust-checkpoint" in capsys.readouterr().err

    energy.write_text(ENERGY + "# another file\n")
    assert main([*predict, "--trust-checkpoint"]) == 2
    assert "SHA-256" in capsys.readouterr().err
    assert run(*options, "--trust-checkpoint") == 2
    assert "holds a run with other settings: checkpoint_sha256 was" in " ".join(capsys.readouterr().err.split())


def test_other_weights_beside_it(energy: Path, tmp_path) -> None:
    torch.save(torch.tensor(3.0), tmp_path / "scale.pt")
    from s3prl import hub

    with trusted_checkpoints(True):
        name, checkpoint, _ = register_on_hub(resolve("energy", None, None)).options
        assert float(getattr(hub, name)(ckpt=checkpoint, model_config=None, refresh=False).scale) == 1.0
        name, checkpoint, model_config = register_on_hub(resolve("energy", str(tmp_path / "scale.pt"), None)).options
        assert (name, checkpoint, model_config) == ("energy", str(tmp_path / "scale.pt"), str(energy))
        build = getattr(hub, name)
        assert float(build(ckpt=checkpoint, model_config=model_config, refresh=False).scale) == 3.0
        recorded = UpstreamRef.recorded(name, checkpoint, model_config)
        assert verify(recorded).options == (name, checkpoint, model_config)
        with pytest.raises(UpstreamError, match=r"-k nowhere\.pt: no such file or folder"):
            resolve("energy", "nowhere.pt", None)
        with pytest.raises(UpstreamError, match=r"-u energy ignores -g: .*energy\.py is code"):
            resolve("energy", None, "config.json")
    with pytest.raises(UpstreamError, match="--trust-checkpoint"):
        verify(recorded)


def test_weights_of_the_same_name_come_first(energy: Path) -> None:
    weights = energy.with_suffix(".pt")
    torch.save({}, weights)
    assert reference.dropin_upstreams() == {"energy": [Path("upstreams/energy.pt")]}, (
        "a script beside a checkpoint takes nothing away"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def other(ckpt=None): ...", r"expected a function energy\(ckpt=None, \*\*kwargs\) that returns the upstream"),
        ("energy = 3", "expected a function energy"),
        ("def energy(:", "it cannot be executed: SyntaxError"),
        ("import no_such_module", "it cannot be executed: ModuleNotFoundError"),
        ("raise SystemExit(1)", r"it ends the program \(1\)"),
        ("def energy(ckpt, **kwargs): ...", "-u energy needs a checkpoint: give its path with -k"),
    ],
)
def test_a_file_that_is_no_upstream(text: str, told: str, energy: Path) -> None:
    energy.write_text(text + "\n")
    with trusted_checkpoints(True), pytest.raises(UpstreamError, match=told) as caught:
        resolve("energy", None, None)
    assert "energy" in str(caught.value)


def test_a_name_of_s3prls_is_not_taken(energy: Path, capsys, caplog) -> None:
    energy.rename(energy.with_name("fbank.py"))
    assert resolve("fbank", None, None).options == ("fbank", None, None)
    assert "fbank.py is not used, the name is taken" in caplog.text
    assert main(["ls", "upstreams"]) == 0
    assert "not used: fbank is a name of S3PRL; rename it" in capsys.readouterr().out
