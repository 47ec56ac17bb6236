"""The command line in a process of its own, which a test may kill, limit, or run beside another."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from s3prl_emotion.cli import main


def start(argv: Sequence[str], log: Path, before: Callable[[], object] | None = None) -> int:
    """Fork, call ``before`` in the child, and give it the command; its output goes to ``log``.

    Returns:
        the child's process id
    """
    child = os.fork()
    if child:
        return child
    status = 70  # never returned by the command line
    try:
        signal.alarm(600)  # a child that waits for ever fails its test
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        logging.getLogger().handlers.clear()
        out = open(1, "w", closefd=False)  # noqa: SIM115
        err = open(2, "w", closefd=False)  # noqa: SIM115
        with out, err, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            if before is not None:
                before()
            status = main(list(argv))
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        raise
    finally:
        os._exit(status)


def end(child: int) -> int:
    """The exit status of a child; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(function: str, matching: str, count: int, after: bool) -> Callable[[], None]:
    """Let the process kill itself at a call of ``os.replace`` or ``torch.save``.

    Args:
        function: ``replace`` (files and folders take their places) or ``save`` (half a checkpoint is written)
        matching: what the target's path ends in
        count: at which of these calls, from 1
        after: when the call is done, instead of before
    """

    def inject() -> None:
        seen = 0

        def now(place: object) -> bool:
            nonlocal seen
            seen += str(place).endswith(matching)
            return seen == count and str(place).endswith(matching)

        if function == "replace":
            replace = os.replace

            def deadly(source: object, target: object) -> None:
                mine = now(target)
                if mine and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(source, target)  # type: ignore[arg-type]
                if mine:
                    os.kill(os.getpid(), signal.SIGKILL)

            os.replace = deadly  # type: ignore[assignment]
            return
        import io

        import torch

        save = torch.save

        def torn(content: object, file: object, *args: object, **kwargs: object) -> None:
            if not now(getattr(file, "name", "").rpartition(".ckpt")[0] + ".ckpt"):
                save(content, file, *args, **kwargs)  # type: ignore[arg-type]
                return
            whole = io.BytesIO()
            save(content, whole)
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])  # type: ignore[attr-defined]
            file.flush()  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGKILL)

        torch.save = torn  # type: ignore[assignment]

    return inject
