"""Location of numba's cache of compiled code, which librosa uses.

It writes beside librosa's own files, and several processes that do so at the same time can leave an index that names
the code of another function: whoever reads it dies by SIGSEGV. Here each root of stores has a folder of its own for
each version of the libraries, and one process at a time compiles into it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from s3prl_emotion.locks import LOCK, exclusive

VARIABLE = "NUMBA_CACHE_DIR"
"""numba reads this when it is imported; what the user's environment says stays."""
FOLDER = ".compiled"


def keep_below(root: Path | None) -> None:
    """Name the folder, unless the environment does, or numba is imported already.

    Args:
        root: of stores; None takes the user's folder for caches
    """
    if os.environ.get(VARIABLE) or "numba" in sys.modules:
        return
    if root is None:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3prl-emotion"
    os.environ[VARIABLE] = str(root.absolute() / FOLDER / _versions())


def _versions() -> str:
    found = [f"python{sys.version_info.major}.{sys.version_info.minor}"]
    for name in ("librosa", "numba", "llvmlite"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name}{metadata.version(name)}")
    return "-".join(found)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Alone among the processes that compile into the same folder: around what a process calls for the first time."""
    keep_below(None)
    folder = os.environ.get(VARIABLE) if find_spec("numba") else None
    with contextlib.ExitStack() as stack:
        if folder:
            with contextlib.suppress(OSError):  # where nothing can be written, numba looks for another place
                Path(folder).mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(Path(folder) / LOCK, wait=True))
        yield
