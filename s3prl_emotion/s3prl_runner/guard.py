"""Checks of the files and addresses that S3PRL's own entries are given.

An entry whose name ends in ``_local`` reads a file, one in ``_url`` an address, one in ``_custom`` either; those of
transformers (``hf_``) a folder or Hub id. An address is of http or https, also after redirections. S3PRL opens any text
it gets, and reads some files with ``weights_only=False``; so each such entry on ``s3prl.hub`` is called through
:func:`guarded`, with the very file that was checked.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.reference import TAKES_CHECKPOINT
from s3prl_emotion.upstreams.trust import plain_only, reading_upstream

SCHEMES = ("http", "https")
_OF_TRANSFORMERS = "hf_"
_downloaded: set[str] = set()
"""Addresses that this process has asked for again (``-r``): what was checked stays what is read."""


class Place(NamedTuple):
    """One of ``-k`` and ``-g``, as S3PRL is given it, and the file or folder behind it."""

    given: str
    path: Path
    is_address: bool = False


def is_guarded(name: str, function: Any) -> bool:
    """Whether a name of ``s3prl.hub`` is an entry of S3PRL's own that reads what the user names."""
    module = str(getattr(function, "__module__", ""))
    return name.endswith(TAKES_CHECKPOINT) and inspect.isfunction(function) and module.startswith("s3prl.")


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """An entry of S3PRL's that is called with what :func:`check_given` lets through, and unpickles no code.

    Args:
        name: on ``s3prl.hub``
        function: the entry

    Returns:
        the same with the checks
    """
    known = inspect.signature(function).parameters
    first = next((item for item in known if item in ("ckpt", "model_config")), "ckpt")

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        refresh = bool(given.get("refresh", False))
        if args and args[0] is not None:
            args = (check_place(name, first, str(args[0]), refresh).given, *args[1:])
        for flag in ("ckpt", "model_config", "options_config"):
            if given.get(flag) is not None:
                given[flag] = check_place(name, flag, str(given[flag]), refresh).given
        if "refresh" in given:
            given["refresh"] = False  # it was, before the check
        with plain_only():
            return function(*args, **given)

    return call


def check_given(name: str, checkpoint: str | None, model_config: str | None, refresh: bool = False) -> None:
    """Check ``-k`` and ``-g`` of one of S3PRL's entries; an address is downloaded.

    Args:
        name: of the entry
        checkpoint: ``-k``
        model_config: ``-g``
        refresh: download again

    Raises:
        UpstreamError: if S3PRL would read something else than a file or an address of http or https, or the file would
            execute code
    """
    for flag, text in (("ckpt", checkpoint), ("model_config", model_config)):
        if text is not None:
            check_place(name, flag, text, refresh)


def check_place(name: str, flag: str, text: str, refresh: bool) -> Place:
    """Check one argument of an entry, and what lies there.

    Args:
        name: of the entry
        flag: S3PRL's name of the argument
        text: what was given
        refresh: download again

    Raises:
        UpstreamError: see :func:`check_given`
    """
    from s3prl_emotion.upstreams.expressions import check_s3prl_file, check_s3prl_settings
    from s3prl_emotion.upstreams.formats import check_rate

    found = _place(name, flag, text, refresh)
    with reading_upstream():
        if found.path.is_dir():
            _check_folder(name, flag, found.path)
        elif flag == "ckpt":
            try:
                check_rate(check_s3prl_file(found.path), str(found.path))
            except UpstreamError as error:
                again = f". It was downloaded from {_shown(text)}; -r downloads it again" if found.is_address else ""
                raise UpstreamError(f"{error}{again}") from error
        else:
            check_s3prl_settings(found.path)
    return found


def _place(name: str, flag: str, text: str, refresh: bool) -> Place:
    """What S3PRL is called with: a whole path, an address, or a Hub id; nothing that it could take for another."""
    option = "-k" if flag == "ckpt" else "-g"
    is_url_entry = name.endswith("_url") and (flag == "ckpt" or flag in _parameters(name))
    if not is_url_entry and _exists(text):
        if not Path(text).is_file() and not Path(text).is_dir():
            raise UpstreamError(f"{option} {_shown(text)}: neither a file nor a folder")  # a pipe, or a device
        return Place(str(Path(text).absolute()), Path(text).absolute())
    address = _address(text)
    if is_url_entry:
        if address is None:
            raise UpstreamError(
                f"{option} {_shown(text)}: -u {name} downloads, and this is no address of http or https. Give one such "
                f"as https://host/model.ckpt; name a file on this disk{_file_entry(name)}"
            )
        return _fetched(name, address, refresh)
    if name.startswith(_OF_TRANSFORMERS):
        from s3prl_emotion.upstreams.hub import is_hub_id, snapshot

        if not is_hub_id(text):
            raise UpstreamError(f"{option} {_shown(text)}: -u {name} reads a folder or a Hub id, which is owner/name")
        folder = snapshot(text, refresh)
        return Place(str(folder), folder)
    if address is not None and name.endswith("_custom") and flag == "ckpt":
        return _fetched(name, address, refresh)
    if address is not None or "://" in text:
        found = "an address" if address is not None else "no address of http or https"
        raise UpstreamError(
            f"{option} {_shown(text)}: this is {found}, and -u {name} reads a file on this disk. Fetch it and give its "
            "path"
        )
    raise UpstreamError(f"{option} {_shown(text)}: no such file{' or folder' if option == '-k' else ''}")


def _address(text: str) -> str | None:
    """An address of http or https as S3PRL may have it, its scheme in small letters; None for anything else.

    Python's ``urlopen`` takes other schemes, unwraps ``<URL:...>``, and strips what :func:`urlsplit` keeps.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        return None
    try:
        parts = urlsplit(text)
        if parts.scheme not in SCHEMES or not parts.hostname or "\\" in text:
            return None
        _ = parts.port
    except ValueError:
        return None
    return parts.scheme + text[len(parts.scheme) :]


def _fetched(name: str, address: str, refresh: bool) -> Place:
    """An address, with the file that S3PRL keeps of it."""
    download = importlib.import_module("s3prl.util.download")
    again = refresh and address not in _downloaded
    try:
        with _by_http_alone(download):
            path = Path(str(download._urls_to_filepaths(address, refresh=again)))
    except Exception as error:  # of urllib, requests and the disk; a server says what it likes
        told = _shown(" ".join(str(error).split()) or type(error).__name__)
        raise UpstreamError(
            f"-k {address}: cannot be downloaded: {told}. Without a network, fetch it elsewhere and name the file"
            f"{_file_entry(name)}"
        ) from error
    if refresh:
        _downloaded.add(address)
    return Place(address, path, is_address=True)


@contextlib.contextmanager
def _by_http_alone(download: Any) -> Iterator[None]:
    """S3PRL's download through an opener that knows no other scheme, wherever a server redirects to."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler),
        *(urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler),
        *(urllib.request.HTTPErrorProcessor, urllib.request.UnknownHandler),
    ):
        opener.add_handler(handler())
    before = download.urlopen
    download.urlopen = opener.open
    try:
        yield
    finally:
        download.urlopen = before


def _check_folder(name: str, flag: str, folder: Path) -> None:
    option = "-k" if flag == "ckpt" else "-g"
    if name.startswith(_OF_TRANSFORMERS) and flag == "ckpt":
        from s3prl_emotion.upstreams.per_fold import folds_of, is_per_fold
        from s3prl_emotion.upstreams.pretrained import read_settings, skeleton
        from s3prl_emotion.upstreams.weights import read_weights, weight_files

        whole = [folder] if not is_per_fold(str(folder)) else [folder / f"fold{n}" for n in folds_of(str(folder))]
        for each in whole:
            config = read_settings(each)
            skeleton(each, config, read_weights(weight_files(each), str(each), peek=True))
        return
    raise UpstreamError(
        f"{option} {folder}: a folder, -u {name} reads a file. A folder in transformers format is an upstream by "
        f"itself: -u {folder}, or -u hf_auto_custom -k {folder}"
    )


def _file_entry(name: str) -> str:
    """The entry of the same family that reads files, for messages."""
    family = name.rpartition("_")[0]
    found = [each for each in (f"{family}_local", f"{family}_custom") if each in _hub()]
    return f" with -u {found[0]} -k PATH" if found else ""


def _hub() -> dict[str, Any]:
    return vars(importlib.import_module("s3prl.hub"))


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(_hub()[name]).parameters


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def _shown(text: str) -> str:
    """A text that somebody else wrote, for a message: what it holds cannot act on a terminal."""
    whole = text if text.isprintable() else ascii(text)[1:-1]
    return whole if len(whole) <= 200 else f"{whole[:200]}..."
