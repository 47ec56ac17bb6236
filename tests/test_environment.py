"""The script that makes ``.venv``: several processes that start at the same time make it once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "environment.sh"

# An interpreter that has the package once it was installed; `-m venv` copies it, `-m pip` takes its time.
FAKE = """#!/usr/bin/env bash
here="$(cd "$(dirname "$0")" && pwd)"
case "$1 $2" in
    "--version "*) echo "Python 3.11.0" ;;
    "-c "*) exit 0 ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip") echo "$$" >>"$LOG"; sleep 1; [ -z "${FAIL:-}" ] || exit 1; touch "$here/has_package" ;;
    *) [ -e "$here/has_package" ] ;;
esac
"""


def place(folder: Path) -> dict[str, str]:
    """A project with the script, and an environment whose only Python is the fake one."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "bin").mkdir()
    shutil.copy(SCRIPT, folder / "scripts")
    for name in ("python", "python3"):
        (folder / "bin" / name).write_text(FAKE)
        (folder / "bin" / name).chmod(0o755)
    return {"PATH": f"{folder / 'bin'}:{os.defpath}", "LOG": str(folder / "log")}


def start(folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    command = f'. "{folder}/scripts/environment.sh"; choose_python ""; echo "$PYTHON"'
    return subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", command], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock of util-linux is not there")
def test_processes_that_start_together_make_one_environment(tmp_path: Path) -> None:
    env = place(tmp_path)
    processes = [start(tmp_path, env) for _ in range(5)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, results
    assert {out.strip() for out, _ in results} == {str(tmp_path / ".venv" / "bin" / "python")}
    assert len((tmp_path / "log").read_text().split()) == 1
    assert sum("another process sets up" in err for _, err in results) == 4


def test_a_failed_set_up_is_tried_again_by_the_next(tmp_path: Path) -> None:
    env = place(tmp_path)
    first = start(tmp_path, {**env, "FAIL": "1"})
    first.communicate(timeout=60)
    second = start(tmp_path, env)
    out, err = second.communicate(timeout=60)
    assert (first.returncode != 0, second.returncode) == (True, 0), err
    assert out.strip() == str(tmp_path / ".venv" / "bin" / "python")
