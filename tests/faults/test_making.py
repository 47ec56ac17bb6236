"""Input of balancing, augmentation and cleaning that cannot be meant so."""

# ruff: noqa: E501  (one row, one line)

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from faults.campaign import Fault, hold, table
from faults.processes import end, killed_at, start
from s3prl_emotion.cli import main

pytestmark = pytest.mark.slow

PREPARE = ("prepare", "--corpus", "demo", "--data", "{demo}", "--out", "{here}/out", "--audio-root", "{here}/audio")
BALANCE = (*PREPARE, "--balance", "20")
YAML = (*BALANCE, "--augmentation", "{here}/effects.yaml")
TABLE = (
    "prepare",
    "--corpus",
    "table",
    "--data",
    "{here}/t.csv",
    "--out",
    "{here}/out",
    "--audio-root",
    "{here}/audio",
)
RUN = (
    "run",
    "-u",
    "fbank",
    "-d",
    "emotion_mean",
    "--device",
    "cpu",
    "--corpus",
    "demo",
    "--data",
    "{demo}",
    "-p",
    "{here}/run",
)
ON_THE_FLY = "config.downstream_expert.datarc.augmentation"


def _effects(text: str) -> object:
    return lambda here: (here / "effects.yaml").write_text(text)


def _empty_folder(here: Path) -> None:
    (here / "noises").mkdir()
    (here / "noises" / "README.txt").write_text("none")
    (here / "effects.yaml").write_text(f"augmentation: [{{name: noise, folder: {here}/noises}}]")


def _noise(content: bytes) -> object:
    def make(here: Path) -> None:
        (here / "noises").mkdir()
        (here / "noises" / "hum.wav").write_bytes(content)
        (here / "effects.yaml").write_text(f"augmentation: [{{name: noise, folder: {here}/noises, p: 1}}]")

    return make


def _table(here: Path, silent: bool = False, few: bool = False) -> None:
    rows = ["path,label,speaker"]
    for speaker in range(4):
        for number in range(4):
            if few and number % 2 and speaker:
                continue
            name = f"{speaker}-{number}.wav"
            samples = np.zeros(3000) if silent and number % 2 else np.random.default_rng(number).normal(size=3000) * 0.1
            soundfile.write(here / name, samples, 16_000)
            rows.append(f"{name},{('angry', 'sad')[number % 2]},s{speaker}")
    (here / "t.csv").write_text("\n".join(rows) + "\n")
    (here / "effects.yaml").write_text("augmentation: [{name: noise, p: 1}]")


@table(
    # --- how many -----------------------------------------------------------------------------------------------------
    Fault("balance 0", (*PREPARE, "--balance", "0"), ("--balance", "1 to 1000000, or max, median, min", "'0'")),
    Fault("a balance below 0", (*PREPARE, "--balance=-5"), ("--balance", "'-5'")),
    Fault("a balance in words", (*PREPARE, "--balance", "many"), ("--balance", "'many'")),
    Fault("a balance of Arabic digits", (*PREPARE, "--balance", "٢٠"), ("--balance",)),
    Fault("a huge balance", (*PREPARE, "--balance", "9" * 4000), ("--balance", "1 to 1000000")),
    Fault("a seed in words", (*BALANCE, "--balance-seed", "x"), ("--balance-seed",)),
    Fault(
        "a class without a training utterance",
        (*TABLE, "--balance", "10"),
        ("sad",),
        lambda here: _table(here, few=True),
    ),
    Fault(
        "a class with fewer clips than folds, stratified",
        (*TABLE, "--protocol", "paper-d", "--balance", "9"),
        ("cannot be divided",),
        lambda here: _few(here),
    ),
    Fault(
        "the released order without a number",
        (*PREPARE, "--protocol", "paper-d-released"),
        ("paper-d-released", "--balance 2000"),
    ),
    # --- which effects ------------------------------------------------------------------------------------------------
    Fault(
        "effects without balance",
        (*PREPARE, "--augmentation", "{here}/effects.yaml"),
        ("--augmentation", "--balance, which is missing"),
    ),
    Fault("a seed without balance", (*PREPARE, "--balance-seed", "3"), ("--balance-seed 3",)),
    Fault("no such file of effects", YAML, ("effects.yaml: no such configuration file",)),
    Fault("a file of effects that is none", YAML, ("effects.yaml", "not valid YAML"), _effects("augmentation: [")),
    Fault(
        "another key",
        YAML,
        ("effects.yaml: unknown key 'augmentations'", "Did you mean 'augmentation'"),
        _effects("augmentations: []"),
    ),
    Fault("no effect", YAML, ("--augmentation: expected a list of effects",), _effects("augmentation: []")),
    Fault("a text for effects", YAML, ("effects.yaml", "expected a list of effects"), _effects("augmentation: noise")),
    Fault(
        "an unknown effect",
        YAML,
        ("--augmentation[0]: unknown effect 'nois'. Did you mean 'noise'",),
        _effects("augmentation: [{name: nois}]"),
    ),
    Fault(
        "an unknown option of an effect",
        YAML,
        ("unknown option 'snr' of effect 'noise'. Did you mean 'snr_db'",),
        _effects("augmentation: [{name: noise, snr: 5}]"),
    ),
    Fault(
        "a probability of 0",
        YAML,
        ("--augmentation[0].p: expected a probability",),
        _effects("augmentation: [{name: noise, p: 0}]"),
    ),
    Fault("a probability above 1", YAML, ("--augmentation[0].p",), _effects("augmentation: [{name: noise, p: 1.5}]")),
    Fault(
        "an SNR that is none",
        YAML,
        ("snr_db must be a number",),
        _effects("augmentation: [{name: noise, snr_db: .nan}]"),
    ),
    Fault(
        "a range upside down",
        YAML,
        ("snr_db: the first of the two",),
        _effects("augmentation: [{name: noise, snr_db: [20, 5]}]"),
    ),
    Fault(
        "a stretch to nothing",
        YAML,
        ("rate must be a number in 0.25 to 4",),
        _effects("augmentation: [{name: time_stretch, rate: 1000}]"),
    ),
    Fault(
        "Python in the file",
        YAML,
        ("effects.yaml",),
        _effects("augmentation: !!python/object/apply:os.system ['touch EXECUTED']"),
    ),
    # --- noises -------------------------------------------------------------------------------------------------------
    Fault("a noise folder without audio", YAML, ("folder: ", "no audio file in this folder"), _empty_folder),
    Fault(
        "a noise folder that is not there",
        YAML,
        ("no such folder",),
        _effects("augmentation: [{name: noise, folder: /nowhere}]"),
    ),
    Fault("an empty noise", YAML, ("hum.wav", "0 bytes"), _noise(b"")),
    Fault(
        "a noise that is no audio",
        YAML,
        ("hum.wav", "not readable as audio"),
        _noise(b"no audio at all, but long enough"),
    ),
    Fault(
        "a noise cut off",
        YAML,
        ("hum.wav",),
        _noise(
            b"RIFF\xff\xff\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80>\x00\x00\x00}\x00\x00\x02\x00\x10\x00data\x00\xf0\x00\x00"
            + bytes(10)
        ),
    ),
    Fault(
        "SNR on silence",
        (*TABLE, "--balance", "9", "--augmentation", "{here}/effects.yaml"),
        (".wav: effect 'noise'", "not defined for a clip that is silent throughout"),
        lambda here: _table(here, silent=True),
    ),
    # --- cleaning -----------------------------------------------------------------------------------------------------
    Fault(
        "an unknown preparation",
        (*PREPARE, "--preparation", "paperd"),
        ("--preparation: unknown preparation 'paperd'. Did you mean 'paper-d'",),
    ),
    Fault(
        "nothing left of a corpus of short clips",
        (*TABLE, "--preparation", "paper-d"),
        ("none of 16 utterances is 1 s long",),
        lambda here: _table(here),
    ),
    # --- places -------------------------------------------------------------------------------------------------------
    Fault(
        "a file in the place of the audio",
        (*PREPARE, "--balance", "40", "--audio-root", "{here}/file"),
        ("file",),
        lambda here: (here / "file").write_text("x"),
    ),
    # --- while training -----------------------------------------------------------------------------------------------
    Fault(
        "an unknown effect while training",
        (*RUN, "-o", f"{ON_THE_FLY}=[{{{{'name':'nois'}}}}]"),
        ("datarc.augmentation[0]: unknown effect 'nois'",),
    ),
    Fault("a text while training", (*RUN, "-o", f"{ON_THE_FLY}=noise"), ("datarc.augmentation: expected a list",)),
    Fault(
        "an effect without a name",
        (*RUN, "-o", f"{ON_THE_FLY}=[{{{{'p':0.5}}}}]"),
        ("datarc.augmentation[0]: expected an effect",),
    ),
    Fault(
        "stored states of what changes",
        (*RUN, "--cache", "-o", f"{ON_THE_FLY}=[{{{{'name':'gain'}}}}]"),
        ("--cache with", "no hidden states of it can be stored"),
    ),
)
def test_what_is_said(fault: Fault, demo_root: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    hold(fault, tmp_path, capsys, demo=demo_root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_is_named_and_the_command_goes_on(demo_root, tmp_path, small_disk, capsys) -> None:
    argv = ["prepare", "--corpus", "demo", "--data", str(demo_root), "--balance", "40", "--out", str(tmp_path / "out")]
    argv += ["--audio-root", str(small_disk)]
    assert main(argv) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert str(small_disk) in error
    assert ".flac: the disk is full" in error
    there = {path.name: path.read_bytes() for path in small_disk.rglob("*.flac")}
    assert there
    assert not list(small_disk.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert main(argv) == 0
    assert all(path.read_bytes() == there[path.name] for path in small_disk.rglob("*.flac") if path.name in there)


def test_a_fine_tuning_on_changing_audio_goes_on_exactly(demo_root, tiny_hubert, tmp_path, monkeypatch) -> None:
    """Killed after a checkpoint, it ends with the bytes of one that was not."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_hubert, tmp_path / "upstreams" / "my_hubert")
    steps = (
        "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2"
    )
    effects = "[{'name':'noise','snr_db':[0,20],'p':0.9},{'name':'pitch_shift'},{'name':'time_stretch'}]"
    argv = ["run", "-u", "my_hubert", "-f", "-d", "emotion_mean_std", "--corpus", "demo", "--data", str(demo_root)]
    argv += ["--fold", "1", "--device", "cpu", "-o", f"{steps},,{ON_THE_FLY}={effects}", "-p"]
    assert end(start([*argv, "whole"], tmp_path / "whole.log")) == 0
    dies = killed_at("replace", "states-2.ckpt", 1, True)
    assert end(start([*argv, "killed"], tmp_path / "killed.log", dies)) == -signal.SIGKILL
    assert end(start([*argv, "killed"], tmp_path / "killed.log")) == 0
    assert (tmp_path / "killed" / "predictions.csv").read_bytes() == (tmp_path / "whole/predictions.csv").read_bytes()
    plain = [item.replace(f",,{ON_THE_FLY}={effects}", "") for item in argv]
    assert end(start([*plain, "plain"], tmp_path / "plain.log")) == 0
    assert (tmp_path / "plain" / "predictions.csv").read_bytes() != (tmp_path / "whole/predictions.csv").read_bytes()


def _few(here: Path) -> None:
    """One clip of a class."""
    _table(here)
    lines = (here / "t.csv").read_text().splitlines()
    (here / "t.csv").write_text("\n".join([line for line in lines if ",sad," not in line] + ["0-1.wav,sad,s0"]) + "\n")
