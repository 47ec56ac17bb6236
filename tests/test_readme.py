"""Every command of the README is accepted; those that need no corpus of the user's are run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from s3prl_emotion.cli import main

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
LINES = [line for language, block in BLOCKS if not language for line in block.splitlines() if line.strip()]
COMMANDS = [line for line in LINES if line.startswith(("./run_downstream.sh", "s3prl-emotion"))]
OTHERS = {"pip install .", "tests/run.sh"}


def _arguments(line: str) -> list[str]:
    words = shlex.split(line)
    return (["run"] if words[0].startswith("./") else []) + words[1:]


def test_every_line_of_a_block_is_a_command() -> None:
    assert set(LINES) - set(COMMANDS) == OTHERS
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("line", [line for line in COMMANDS if "/path/to" in line])
def test_commands_on_a_users_corpus_stop_at_its_place_only(line: str, tmp_path, capsys, tiny_hubert) -> None:
    shutil.copytree(tiny_hubert, tmp_path / "upstreams" / "my_hubert")
    arguments = [str(tiny_hubert) if word == "path/to/folder" else word for word in _arguments(line)]
    device = ["--device", "cpu"] if arguments[0] == "run" else []
    assert main([*arguments, *device]) == 2
    corpus = arguments[arguments.index("--corpus") + 1] if "--corpus" in arguments else "iemocap"
    assert f"no such file or folder. Corpus {corpus} expects" in capsys.readouterr().err


def test_the_short_commands_and_the_python_blocks_run_in_order(tmp_path, capsys, monkeypatch) -> None:
    short = [line for line in COMMANDS if "/path/to" not in line and "-d emotion_attn_corr --demo" not in line]
    assert len(short) == 14
    for line in short:
        words = _arguments(line)
        if words[0] == "push":  # the only one that needs a network
            monkeypatch.setattr("s3prl_emotion.cli.push.main", lambda args: 0)
        extra = ["--device", "cpu"] if words[0] in ("run", "sweep", "predict") else []
        assert main(words + extra) == 0, line
    printed = capsys.readouterr().out
    assert "run folder: result/downstream/my_run" in printed
    assert "Block 1: demo, protocol superb" in printed
    shutil.copy(next(tmp_path.glob("result/downstream/my_run/corpus/Session1/**/*.wav")), "a.wav")
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert len(blocks) == 2
    for code in blocks:
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.slow
def test_the_demo_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for line in COMMANDS if "-d emotion_attn_corr --demo" in line]
    assert len({tuple(_arguments(line)) for line in lines}) == 1
    assert main([*_arguments(lines[0]), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "demo settings" in printed
    mean = float(re.search(r"^mean +([\d.]+)", printed, flags=re.MULTILINE)[1])
    assert 50 < mean < 98


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", TEXT))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_shims_of_the_readme_are_those_of_the_code() -> None:
    from s3prl_emotion.bridge import shims

    table = set(re.findall(r"^\| `(\w+)` \|", TEXT.split("## What S3PRL 0.4.18 needs")[1], flags=re.MULTILINE))
    assert table == {shim.__name__.lstrip("_") for shim in shims.SHIMS}
