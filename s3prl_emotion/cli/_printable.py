"""Log lines whose names others chose: a file's name may hold an escape sequence, which a terminal would obey."""

from __future__ import annotations

import logging

from s3prl_emotion.printable import printable


class PrintableFormatter(logging.Formatter):
    """Log lines without anything that a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one text."""
        return printable(super().format(record))
