"""numba's cache: below the store, by version, one process at a time; the user's own place stays."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from s3prl_emotion.locks import LOCK, HeldError, exclusive
from s3prl_emotion.numba_cache import FOLDER, VARIABLE, compiling, keep_below

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delitem(sys.modules, "numba", raising=False)


def test_the_folder_is_below_the_store_by_version(tmp_path: Path) -> None:
    keep_below(tmp_path / "cache")
    found = Path(os.environ[VARIABLE])
    assert found.parent == tmp_path / "cache" / FOLDER
    assert f"python{sys.version_info.major}.{sys.version_info.minor}" in found.name
    assert not (tmp_path / "cache").exists()


def test_what_the_user_says_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "mine")
    keep_below(tmp_path)
    assert os.environ[VARIABLE] == "mine"


def test_without_a_store_it_is_among_the_users_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_below(None)
    assert Path(os.environ[VARIABLE]).parent == tmp_path / "s3prl-emotion" / FOLDER


def test_one_process_compiles_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3prl_emotion.numba_cache.find_spec", lambda _: True)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "numba"))
    with compiling(), pytest.raises(HeldError), exclusive(tmp_path / "numba" / LOCK):
        pass


def test_a_place_that_cannot_be_made_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3prl_emotion.numba_cache.find_spec", lambda _: True)
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "numba"))
    with compiling():
        pass


@pytest.mark.slow
def test_processes_that_begin_together_share_what_is_compiled(demo_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("librosa")
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "s3prl_emotion", "classical", "-u", "librosa94", "--fold", "1", "--corpus", "demo"]
    command += ["--data", str(demo_root), "--device", "cpu", "--cache-root", str(cache)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    begun = [
        subprocess.Popen([*command, "--root", str(tmp_path / name)], env=environment, stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for process in begun:
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said.decode()
    (folder,) = (cache / FOLDER).iterdir()
    assert f"numba{metadata.version('numba')}" in folder.name
    assert list(folder.rglob("*.nbi"))
