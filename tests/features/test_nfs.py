"""Locks on NFS, which looks at how a file was opened, and where there are none at all."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.errors import RunError
from s3prl_emotion.features.management import delete
from s3prl_emotion.locks import LOCK, SWITCH, exclusive, is_held, shared

TESTS = Path(__file__).parents[1]


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """``flock`` that checks modes, in this process."""
    content: dict[str, object] = {}
    real = fcntl.flock
    try:
        exec((TESTS / "nfs" / "sitecustomize.py").read_text(), content)  # noqa: S102
    finally:
        fcntl.flock = real  # type: ignore[assignment]
    monkeypatch.setattr(fcntl, "flock", content["flock"])


def test_the_emulation_refuses_what_the_kernel_refuses(nfs: None, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for mode, kind, refused in (
        ("w", fcntl.LOCK_SH, True),
        ("w", fcntl.LOCK_EX, False),
        ("r", fcntl.LOCK_SH | fcntl.LOCK_NB, False),
        ("r", fcntl.LOCK_EX | fcntl.LOCK_NB, True),
        ("r+", fcntl.LOCK_EX, False),
        ("r+", fcntl.LOCK_SH, False),
    ):
        with path.open(mode) as file:
            if refused:
                with pytest.raises(OSError) as caught:
                    fcntl.flock(file, kind)
                assert caught.value.errno == errno.EBADF
            else:
                fcntl.flock(file, kind)


def test_whether_a_lock_is_held(nfs: None, tmp_path: Path) -> None:
    path = tmp_path / LOCK
    assert not is_held(path)
    with shared(path):
        assert is_held(path)
    with exclusive(path):
        assert is_held(path)
    assert not is_held(path)


def test_a_lock_that_can_only_be_read_counts_as_held(
    nfs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / LOCK, os.open
    path.touch()

    def opened(file: object, flags: int, *more: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return real(file, flags, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opened)
    assert is_held(path)


def test_a_run_and_its_store(nfs: None, run, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    assert run("-u", "fbank", "-d", "emotion_mean", "--fold", "1", "--cache-root", str(root)) == 0
    (store,) = [path for path in root.iterdir() if not path.name.startswith(".")]
    (store / "data-0123456789ab.bin").touch()  # a writer was killed
    assert run("-u", "fbank", "-d", "emotion_mean", "--fold", "2", "--cache-root", str(root)) == 0
    assert not (store / "data-0123456789ab.bin").exists()
    assert delete(root, store.name)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["features/test_store.py", "features/test_cached_runs.py", "runs/test_folder.py"])
def test_all_of_stores_and_folders(file: str) -> None:
    """In processes of their own, whose children find the emulation too."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS / 'nfs'}{os.pathsep}{TESTS}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(TESTS / file)]
    done = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("fault", ["ENOSYS", "ENOLCK", "ENOTSUP", "EOPNOTSUPP"])
def test_a_file_system_without_locks(
    fault: str, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: object) -> None:
        raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))

    monkeypatch.setattr(fcntl, "flock", none)
    options = ("-u", "fbank", "-d", "emotion_mean", "--fold", "1", "--cache-root", str(tmp_path / "cache"))
    assert run(*options) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'run' / LOCK}: this file system has no file locks" in said
    assert f"if no other process works there, set {SWITCH}=off" in said
    with pytest.raises(RunError, match="no file locks"), shared(tmp_path / "x"):
        pass
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv(SWITCH, "off")
    assert run(*options) == 0
    assert main(["cache", "clear", "--cache-root", str(tmp_path / "cache")]) == 0
