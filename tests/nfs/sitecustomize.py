"""``flock`` as the kernel's NFS client has it, for every process that starts with this folder in ``PYTHONPATH``.

A shared lock needs a file that is open for reading, an exclusive one a file that is open for writing
(``nfs4_proc_lock``); otherwise it is EBADF.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Any

_flock = fcntl.flock


def flock(file: Any, operation: int) -> None:
    descriptor = file if isinstance(file, int) else file.fileno()
    mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    refused = {fcntl.LOCK_SH: os.O_WRONLY, fcntl.LOCK_EX: os.O_RDONLY}
    if refused.get(operation & ~fcntl.LOCK_NB) == mode:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    _flock(file, operation)


fcntl.flock = flock  # type: ignore[assignment]
