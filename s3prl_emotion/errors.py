"""Errors that a user can act on.

Every error of this hierarchy carries a complete message: what was given, what was expected and what to do next.
The command line prints it without a traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EmotionError(Exception):
    """Base of all errors that are addressed to the user."""


class ConfigError(EmotionError):
    """A configuration file or option is wrong. The message names the file and the key."""


class CorpusError(EmotionError):
    """A corpus, manifest or audio file is wrong. The message names the file."""


class ProtocolError(EmotionError):
    """An evaluation protocol is unknown, cannot be applied to a corpus, or would be violated."""


class UpstreamError(EmotionError):
    """An upstream or its checkpoint is wrong."""


class RunError(EmotionError):
    """A run cannot start, continue or finish."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names resemble ``name``.

    Args:
        name: what the user wrote
        known: the accepted names

    Returns:
        a sentence such as ``Did you mean 'heads'? Known: channel_dropout, heads.``
    """
    names = sorted(str(item) for item in known)
    close = difflib.get_close_matches(str(name), names, n=2, cutoff=0.75)
    close = close or difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    guess = f"Did you mean {' or '.join(repr(item) for item in close)}? " if close else ""
    return f"{guess}Known: {', '.join(names) or '(none)'}."
