"""Writing a file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_atomically(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to a new file beside ``path``, then put it in the place of ``path``; folders are made.

    Raises:
        OSError: if the folder cannot be written; the old file is then untouched
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(text.encode("utf-8"))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
