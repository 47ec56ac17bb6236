"""Output of the command line."""

from __future__ import annotations

import logging
from pathlib import Path

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.files import write_atomically
from s3prl_emotion.printable import printable
from s3prl_emotion.runs.folder import FoldFolder, RunFolder


class PrintableFormatter(logging.Formatter):
    """Log lines without anything that a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one text."""
        return printable(super().format(record))


def check_not_of_a_run(out: Path) -> None:
    """Refuse to write over a file of a run or of one of its folds; new files may lie there.

    Raises:
        ConfigError: naming the file
    """
    near = out.absolute().parents[:2]
    if out.exists() and any(RunFolder(folder).is_one or FoldFolder(folder).is_finished for folder in near):
        raise ConfigError(f"--out {out}: a file of a run, which it would overwrite; name another file")


def check_out(out: Path | None) -> None:
    """Refuse a place that a report cannot be written to, before anything is computed; None prints.

    Raises:
        ConfigError: naming it
    """
    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out}: is a folder, expected a file")
    if out is not None:
        check_not_of_a_run(out)


def write_or_print(text: str, out: Path | None) -> None:
    """Write a report and print where it is, or print it."""
    if out is None:
        print(printable(text))
        return
    write_atomically(out, text + "\n")
    print(out)
