"""Errors while an upstream is built, as one message."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

from s3prl_emotion.errors import EmotionError, UpstreamError
from s3prl_emotion.upstreams.files import is_refusal, refusal
from s3prl_emotion.upstreams.names import variants
from s3prl_emotion.upstreams.trust import reading_upstream

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def explained(upstream: str, what: str = "cannot be built") -> Iterator[None]:
    """Turn whatever goes wrong while an upstream is built, or first asked, into one message.

    Within, ``--trust-checkpoint`` is in force.

    Args:
        upstream: ``-u``
        what: what it does not do, for the message

    Raises:
        UpstreamError: naming the upstream and the cause
    """
    try:
        with reading_upstream():
            yield
    except EmotionError:
        raise
    except OSError as error:  # requests' and huggingface_hub's connection errors are OSErrors
        raise UpstreamError(
            f"-u {upstream}: its files cannot be had: {error}. Named upstreams are downloaded on first use; without a "
            f"network, {_elsewhere(upstream)}"
        ) from error
    except Exception as error:  # code of many authors: anything can come, and nothing is kept back
        logger.debug("-u %s", upstream, exc_info=True)  # --verbose shows it
        if is_refusal(error):
            raise UpstreamError(refusal(f"-u {upstream}", error)) from error
        raise UpstreamError(f"-u {upstream} {what}: {_told(error)}") from error


def not_built(checkpoint: str | None) -> str:
    """That an upstream cannot be built, with the file that it was to be built from."""
    return "cannot be built" if checkpoint is None else f"cannot be built from {checkpoint}; is it one of that family?"


def _elsewhere(upstream: str) -> str:
    """How to have the files of a named upstream without a network."""
    found = [name for name in variants(upstream) if not name.endswith(("_url", "_gdriveid"))]
    if found:
        return f"fetch the checkpoint elsewhere and use -u {' or '.join(found)} with -k"
    return (
        "run it once where there is one, and copy S3PRL's folder of downloads (~/.cache/s3prl/download, or "
        "--cache_dir) here: it has no variant that reads a file"
    )


def _told(error: Exception) -> str:
    """Type and text; of an error without a text, where it came up."""
    if str(error):
        return f"{type(error).__name__}: {error}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}: {last.line}"
