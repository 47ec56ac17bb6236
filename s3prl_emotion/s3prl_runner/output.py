"""What S3PRL and its upstreams print goes to a file beside the checkpoints, and to the debug log."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

from s3prl_emotion.files import append

logger = logging.getLogger(__name__)

FILE = "runner.log"
"""In a fold's folder: what S3PRL printed while it worked there."""


@contextlib.contextmanager
def kept_output(folder: Path) -> Iterator[None]:
    """Within, standard output is ours alone: whole lines that others print are kept in ``folder``.

    Raises:
        OSError: naming the file, if it cannot be written
    """
    lines = _Lines(folder / FILE)
    try:
        with contextlib.redirect_stdout(lines):
            yield
    finally:
        lines.end()


class _Lines(io.TextIOBase):
    """A text stream that passes on whole lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, self._waiting = (self._waiting + text).split("\n")
        self._keep([line for line in whole if line.strip()])
        return len(text)

    def end(self) -> None:
        """Pass on what no line break followed."""
        self._keep([self._waiting] if self._waiting.strip() else [])
        self._waiting = ""

    def _keep(self, lines: list[str]) -> None:
        if lines and self._path.parent.is_dir():
            append(self._path, "".join(f"{line}\n" for line in lines))
        for line in lines:  # the Runner goes on without the batch that did not fit
            logger.log(logging.WARNING if "out of memory" in line else logging.DEBUG, "%s", line)
