"""A disk that is full, a quota, and places that cannot be written: what is said, and that the command goes on later."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.processes import end, start
from s3prl_emotion.cli import main

pytestmark = pytest.mark.slow

STEPS = "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2"


class Disk:
    """A file system of 16 MB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def leave(self, size: int) -> None:
        """Fill it, so that so many bytes are free, in pages of 4096."""
        state = os.statvfs(self.folder)
        with self._ballast.open("ab") as file:
            file.write(b"\0" * (state.f_bavail * state.f_frsize - size))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


def _mounted(folder: Path, *options: str) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    if not _mounted(folder, "-t", "tmpfs", "-o", "size=16m", "none"):
        pytest.skip("this machine lets nobody mount a small file system")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _command(finished_run: Path, demo: Path, folder: Path) -> list[str]:
    argv = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "demo", "--data", str(demo), "--device", "cpu"]
    argv += ["--fold", "1,2", "--cache-root", str(finished_run.parent / "cache"), "-p", str(folder), "-o", STEPS]
    return argv


def _is_told(status: int, log: Path, *says: str) -> None:
    text = log.read_text(errors="replace")
    assert status == 2, text
    assert "Traceback" not in text, text
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    for word in says:
        assert word in errors[0], errors


def _same_results(first: Path, second: Path) -> None:
    for name in ("predictions.csv", "results.json", "fold1/predictions.csv", "fold2/predictions.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert not list(second.rglob(".*.tmp"))


KB = 1024


@pytest.mark.parametrize(
    "left", [0, 4 * KB, 8 * KB, 16 * KB, 32 * KB, 64 * KB, 96 * KB, 128 * KB, 192 * KB, 256 * KB, 320 * KB, 448 * KB]
)
def test_a_run_on_a_full_disk(left: int, disk: Disk, finished_run: Path, demo_root: Path, tmp_path: Path) -> None:
    """However far it comes: the fault names a file and a remedy, and with room again the run ends as any other."""
    folder = disk.folder / "run"
    argv = _command(finished_run, demo_root, folder)
    disk.leave(left)
    _is_told(end(start(argv, tmp_path / "log")), tmp_path / "log", str(disk.folder), "disk is full. Make room there")
    disk.free()
    assert main(argv) == 0
    _same_results(finished_run, folder)


@pytest.mark.parametrize("left", [0, 4 * KB, 8 * KB, 16 * KB])
def test_collecting_on_a_full_disk(left: int, disk: Disk, finished_run: Path, demo_root: Path, tmp_path: Path) -> None:
    folder = disk.folder / "run"
    shutil.copytree(finished_run, folder)
    argv = _command(finished_run, demo_root, folder)
    for name in ("predictions.csv", "results.json", "audit.json"):
        (folder / name).unlink()
    disk.leave(left)
    status = end(start(argv, tmp_path / "log"))
    if left < 16 * KB:
        _is_told(status, tmp_path / "log", str(folder), "disk is full. Make room there")
    disk.free()
    assert main(argv) == 0
    _same_results(finished_run, folder)


@pytest.mark.parametrize("left", [0, 4 * KB, 12 * KB, 20 * KB])
def test_an_export_to_a_full_disk(left: int, disk: Disk, finished_run: Path, tmp_path: Path) -> None:
    argv = ["export", str(finished_run), "--device", "cpu", "--out", str(disk.folder / "head")]
    disk.leave(left)
    _is_told(end(start(argv, tmp_path / "log")), tmp_path / "log", str(disk.folder / "head"), "disk is full")
    assert [path.name for path in disk.folder.iterdir()] == ["ballast"], "nothing half is left"
    disk.free()
    assert main(argv) == 0
    assert main([*argv[:-1], str(tmp_path / "head")]) == 0
    for path in (tmp_path / "head").iterdir():
        assert path.read_bytes() == (disk.folder / "head" / path.name).read_bytes()


@pytest.mark.parametrize("left", [0, 4 * KB, 8 * KB, 12 * KB])
def test_preparing_on_a_full_disk(left: int, disk: Disk, demo_root: Path, tmp_path: Path) -> None:
    argv = ["prepare", "--corpus", "demo", "--data", str(demo_root), "--out", str(disk.folder / "prepared")]
    disk.leave(left)
    _is_told(end(start(argv, tmp_path / "log")), tmp_path / "log", str(disk.folder / "prepared"), "disk is full")
    disk.free()
    assert main(argv) == 0
    assert main([*argv[:-1], str(tmp_path / "prepared")]) == 0
    for name in ("manifest.jsonl", "folds.json"):
        assert (tmp_path / "prepared" / name).read_bytes() == (disk.folder / "prepared" / name).read_bytes()


def test_the_demo_corpus_on_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    argv = ["prepare", "--corpus", "demo", "--out", str(disk.folder / "prepared")]
    disk.leave(200 * KB)
    _is_told(end(start(argv, tmp_path / "log")), tmp_path / "log", str(disk.folder), "disk is full. Make room there")


def test_a_sweep_on_a_full_disk_names_every_point(
    disk: Disk, finished_run: Path, demo_root: Path, tmp_path: Path
) -> None:
    argv = [
        "sweep",
        *_command(finished_run, demo_root, Path())[1:],
        "--seeds",
        "1,2",
        "--root",
        str(disk.folder / "root"),
    ]
    argv[argv.index("-p") : argv.index("-p") + 2] = []
    disk.leave(32 * KB)
    status = end(start(argv, tmp_path / "log"))
    text = (tmp_path / "log").read_text()
    assert status == 2, text
    assert "Traceback" not in text
    assert "2 of 2 points failed" in text
    for seed in (1, 2):
        assert f"fbank emotion_mean_std, seed {seed}" in text.rpartition("points failed")[2]
    assert text.count("the disk is full") >= 2


@pytest.mark.parametrize("command", ["compare", "predict"])
def test_a_report_on_a_full_disk(command: str, disk: Disk, finished_run: Path, demo_root: Path, tmp_path: Path) -> None:
    out = disk.folder / "out.txt"
    audio = str(demo_root / "Session1/sentences/wav")
    argv = {
        "compare": ["compare", str(finished_run), "--out", str(out)],
        "predict": [
            "predict",
            "--run",
            str(finished_run),
            "--device",
            "cpu",
            "--out",
            str(out),
            audio,
        ],
    }[command]
    disk.leave(0)
    _is_told(end(start(argv, tmp_path / "log")), tmp_path / "log", str(out), "disk is full")


@pytest.mark.parametrize("command", ["ls", "compare", "evaluate", "predict"])
def test_output_that_cannot_be_written(command: str, finished_run: Path, demo_root: Path, tmp_path: Path) -> None:
    """``> /dev/full``: the message, and no second one when Python ends."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    audio = str(demo_root / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")
    argv = {
        "ls": ["ls", "corpora"],
        "compare": ["compare", str(finished_run)],
        "evaluate": ["evaluate", str(finished_run)],
        "predict": ["predict", "--run", str(finished_run), "--device", "cpu", audio],
    }[command]

    def full() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    _is_told(end(start(argv, tmp_path / "log", full)), tmp_path / "log", "standard output", "disk is full")


@pytest.mark.parametrize("bound", [1000, 5000, 20_000, 40_000, 60_000])
def test_a_quota_on_the_writer(bound: int, finished_run: Path, demo_root: Path, tmp_path: Path) -> None:
    """No file may be larger: as a full disk, on machines where nothing can be mounted."""
    argv = _command(finished_run, demo_root, tmp_path / "run")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, bound))

    _is_told(end(start(argv, tmp_path / "log", limit)), tmp_path / "log", str(tmp_path / "run"), "ulimit -f")
    assert main(argv) == 0
    _same_results(finished_run, tmp_path / "run")


READ_ONLY = ("again", "evaluate", "predict", "compare", "export")


def _reading(command: str, finished_run: Path, demo: Path, folder: Path, out: Path) -> list[str]:
    audio = str(demo / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")
    return {
        "again": _command(finished_run, demo, folder),
        "evaluate": ["evaluate", str(folder)],
        "predict": ["predict", "--run", str(folder), "--device", "cpu", audio],
        "compare": ["compare", str(folder)],
        "export": ["export", str(folder), "--device", "cpu", "--out", str(out)],
    }[command]


@pytest.mark.parametrize("locks", [True, False], ids=["with lock files", "copied without"])
@pytest.mark.parametrize("command", READ_ONLY)
def test_a_finished_run_on_a_read_only_mount(
    command: str, locks: bool, finished_run: Path, demo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = tmp_path / "source", tmp_path / "mounted"
    shutil.copytree(finished_run, source)
    if not locks:
        for path in (*source.rglob(".lock"), *source.rglob(".users")):
            path.unlink()
    if not _mounted(folder, "--bind", str(source)):
        pytest.skip("this machine lets nobody mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        argv = _reading(command, finished_run, demo_root, folder, tmp_path / "head")
        status = main(argv)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    assert status == 0, capsys.readouterr().err


@pytest.mark.parametrize("what", ["a fold to train", "another seed"])
def test_what_cannot_be_done_on_a_read_only_mount(
    what: str, finished_run: Path, demo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mounted"
    if not _mounted(folder, "--bind", str(finished_run)):
        pytest.skip("this machine lets nobody mount")
    argv = _command(finished_run, demo_root, folder)
    argv += ["--fold", "3"] if what == "a fold to train" else ["--seed", "3"]
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        assert main(argv) == 2
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    said = capsys.readouterr().err
    assert ("read-only file system. Name a folder that can be written" in said) is (what == "a fold to train")
    assert ("seed was 1337 and is 3" in said) is (what == "another seed")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM], ids=errno.errorcode.get)
@pytest.mark.parametrize("command", READ_ONLY)
def test_a_finished_run_in_a_folder_of_somebody_else(
    command: str,
    number: int,
    finished_run: Path,
    demo_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing below the folder can be opened for writing, made, renamed or deleted: real for root as well."""
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    _forbid(monkeypatch, folder, number)
    assert main(_reading(command, finished_run, demo_root, folder, tmp_path / "head")) == 0, capsys.readouterr().err


def test_results_that_are_out_of_date_in_a_folder_of_somebody_else(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is computed again all the same; that the file stays is said."""
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps({**results, "ece": 0.5}))
    _forbid(monkeypatch, folder, errno.EROFS)
    assert main(["evaluate", str(folder)]) == 0
    assert "ECE) 50.00" not in capsys.readouterr().out
    assert json.loads((folder / "results.json").read_text())["ece"] == 0.5


def _forbid(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """Let the system refuse every change below a folder."""
    import builtins
    import io

    def below(path: object) -> bool:
        return isinstance(path, (str, os.PathLike)) and Path(os.fspath(path)).absolute().is_relative_to(folder)

    def guarded(function: Callable[..., object], writes: Callable[..., bool]) -> Callable[..., object]:
        def call(path: object, *args: object, **kwargs: object) -> object:
            if below(path) and writes(*args, **kwargs):
                raise OSError(number, os.strerror(number), str(path))
            return function(path, *args, **kwargs)

        return call

    flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    opened = guarded(io.open, lambda mode="r", *_, **__: bool(set(str(mode)) & set("wax+")))
    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(io, "open", opened)
    monkeypatch.setattr(os, "open", guarded(os.open, lambda given=0, *_, **__: bool(given & flags)))
    for name in ("replace", "rename", "unlink", "remove", "rmdir", "utime"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name), lambda *_, **__: True))
