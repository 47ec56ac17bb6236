"""Files that are written whole, what a dead process leaves behind, strict JSON, and the system's errors in words."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s3prl_emotion import files
from s3prl_emotion.cli import main
from s3prl_emotion.errors import explain_os_error, message_of
from s3prl_emotion.files import append, clean_up, parse_json, replacing, write_atomically
from s3prl_emotion.locks import HeldError, exclusive, is_held, shared


def test_an_equal_file_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "é\n")
    monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("written"))
    write_atomically(path, "é\n")
    assert path.read_text(encoding="utf-8") == "é\n"


def test_a_failed_write_names_the_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")

    def full(self: Path, content: bytes) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError) as caught:
        write_atomically(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_long_name_has_room_for_its_temporary(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)
    write_atomically(path, "text")
    assert path.read_text() == "text"


def test_appending_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        append("/dev/full", "text")
    assert caught.value.filename == "/dev/full"


def test_what_a_dead_writer_left_is_deleted(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from s3prl_emotion.files import replacing\n"
        "with replacing(sys.argv[1]) as path: path.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    checkout = Path(files.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], check=False, cwd=checkout)
    assert done.returncode == -9
    assert len(list(tmp_path.glob(".x.*.tmp"))) == 1
    with replacing(tmp_path / "mine") as mine:
        mine.write_text("whole")
        elsewhere = tmp_path / ".x.elsewhere-1-abcdef01.tmp"
        earlier = tmp_path / f".x.{'0' * 32}.tmp"
        other = tmp_path / ".mine.tmp"
        for path in (elsewhere, earlier, other):
            path.touch()
        clean_up(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            path.name for path in (mine, elsewhere, earlier, other)
        ), "those of the living, of other hosts and of others stay"
        for path in (elsewhere, earlier, other):
            os.utime(path, (time.time() - 100_000,) * 2)
        clean_up(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in (mine, other))
    assert (tmp_path / "mine").read_text() == "whole"


def test_a_temporary_of_this_process_number_in_an_earlier_life(tmp_path: Path) -> None:
    mine = files.temporary_beside(tmp_path / "x")
    earlier = mine.with_name(mine.name.replace(files._TOKEN, "00000000"))
    for path in (mine, earlier):
        path.touch()
    clean_up(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is given twice"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting"),
        ("9" * 5000, "4300"),
    ],
)
def test_json_is_read_strictly(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


KNOWN = ("ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM", "EROFS", "ENOENT", "EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY")
KNOWN += ("ENAMETOOLONG", "ELOOP", "EMFILE", "ENFILE", "EIO", "ESTALE", "ENOLCK", "ENOTSUP", "EBUSY", "ENOMEM")


@pytest.mark.parametrize("name", KNOWN)
def test_errors_of_the_system_name_the_file_and_a_remedy(name: str) -> None:
    number = getattr(errno, name)
    text = explain_os_error(OSError(number, os.strerror(number), "run/x.json"))
    assert text.startswith("run/x.json: ")
    assert text.endswith(f"({os.strerror(number)})")
    assert "Errno" not in text
    assert ". " in text, "what is wrong, and what to do"
    assert explain_os_error(OSError(number, os.strerror(number))).startswith("a file cannot be read or written: ")


def test_other_errors_in_words() -> None:
    assert explain_os_error(OSError(errno.ECHILD, "No child processes", "x")) == "x: No child processes"
    assert explain_os_error(OSError("made up")) == "made up"
    assert message_of(MemoryError()).startswith("the machine's memory is used up")
    assert message_of(ZeroDivisionError("division by zero")) == "ZeroDivisionError: division by zero"


def test_the_command_line_explains_an_error_of_the_system(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["prepare", "--corpus", "demo", "--out", str(tmp_path / "file" / "x")]) == 2
    said = capsys.readouterr().err
    assert "a part of this path is a file, expected a folder. Name a folder" in said
    assert str(tmp_path / "file") in said


def test_locks(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert not is_held(path)
    with exclusive(path) as held:
        assert held
        assert is_held(path)
        with pytest.raises(HeldError), exclusive(path):
            pass
    assert not is_held(path)
    with shared(path), shared(path):
        assert is_held(path)
        with pytest.raises(HeldError), exclusive(path):
            pass
    with exclusive(path):
        pass


@pytest.mark.parametrize("command", [["ls", "corpora"], ["ls", "upstreams"], ["cache", "ls"]])
def test_a_reader_that_has_enough(command: list[str]) -> None:
    """``s3prl-emotion ls corpora | head -0``: nothing is said, and the status is that of a program ended by SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    checkout = Path(files.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "s3prl_emotion", *command],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=checkout,
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 141


def test_a_key_that_is_given_twice_among_many() -> None:
    """Found in one pass, not by counting each key among all."""
    text = "{" + ",".join(f'"{number}":0' for number in range(200_000)) + ',"199999":1}'
    start = time.monotonic()
    with pytest.raises(ValueError, match="key '199999' is given twice"):
        parse_json(text)
    assert time.monotonic() - start < 5
