"""What one row of the fault campaign is, and how it is held against the command line.

A row is an input that someone could give, and what must be said of it. Whatever the row, the command ends with a
message and the exit status of an error that the user can mend: no traceback, nothing executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3prl_emotion.cli import main

CANARY = "EXECUTED"
"""The file that malicious input tries to make in the working folder."""


@dataclass(frozen=True)
class Fault:
    """One malformed or malicious input.

    Args:
        name: what is wrong, unique in its table
        argv: the command; ``{here}`` is the test's own folder, other words in braces are what ``places`` gives
        says: texts that standard error must hold
        make: puts the input into the test's own folder
        status: the exit status; 0 for input that must be used with a notice
    """

    name: str
    argv: tuple[str, ...]
    says: tuple[str, ...]
    make: Callable[[Path], object] | None = None
    status: int = 2


def table(*rows: Fault) -> pytest.MarkDecorator:
    """Parametrise a test over ``rows``; two of one name are an error."""
    names = [row.name for row in rows]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"rows of the same name: {sorted(twice)}")
    return pytest.mark.parametrize("fault", [pytest.param(row, id=row.name) for row in rows])


def hold(fault: Fault, here: Path, capsys: pytest.CaptureFixture[str], **places: object) -> str:
    """Give the command line the faulty input; any exception but an exit is a traceback, and fails the test.

    Returns:
        what it wrote to standard error
    """
    if fault.make is not None:
        fault.make(here)
    words = {"here": here, **places}
    argv = [word.format(**words) if "{" in word else word for word in fault.argv]
    capsys.readouterr()
    try:
        status = main(argv)
    except SystemExit as error:  # argparse's
        status = error.code if isinstance(error.code, int) else 1
    printed = capsys.readouterr()
    told = f"{printed.out}\n--- standard error ---\n{printed.err}"
    executed = [str(path) for folder in (here, Path.cwd()) for path in folder.rglob(f"*{CANARY}*")]
    assert not executed, f"code was executed: {executed}\n{told}"
    assert "Traceback" not in told, told
    assert status == fault.status, told
    for text in fault.says:
        assert text in printed.err, f"{text!r} is not in:\n{told}"
    return printed.err


def payload(expression: str = "0") -> str:
    """A Python expression that leaves the canary in the working folder, and has the value of ``expression``."""
    return f"__import__('os').system('touch {CANARY}') or {expression}"


class Touch:
    """Unpickled, it leaves the canary in the working folder."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {CANARY}",)
