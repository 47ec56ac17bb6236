"""Known ``-u`` names, without importing S3PRL or torch, so that a typing error is answered at once."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.s3prl_runner.upstream_registry import upstreams
from s3prl_emotion.upstreams.reference import TAKES_CHECKPOINT


class HubNames(NamedTuple):
    """What the source of ``s3prl.hub`` defines."""

    functions: dict[str, str]  # and the module that defines each
    imported: frozenset[str]  # names that modules there import: functions, classes or modules


def check_name(name: str) -> None:
    """Check that ``-u`` can be the name of an upstream, a path or a Hub id; the file is not looked into.

    Raises:
        UpstreamError: if it is none, with names that resemble it
    """
    from s3prl_emotion.upstreams.hub import is_hub_id
    from s3prl_emotion.upstreams.reference import dropin_upstreams

    if name.strip() in ("", os.curdir, os.pardir):
        raise UpstreamError(
            f"-u {name!r} names no upstream: expected a name that `s3prl-emotion ls upstreams` lists, the path of a "
            "folder or file by its own name, or a Hub id"
        )
    theirs = hub_names()
    if theirs is None or name in theirs.functions or name in theirs.imported:
        return
    if name in vars(sys.modules.get("s3prl.hub", object)):
        return  # put there by the caller
    path = Path(name).expanduser()
    is_path = name.startswith((".", "~", os.sep)) or len(path.parts) > 1
    known = {*theirs.functions, *upstreams(), *dropin_upstreams()}
    if name not in known and not is_path and not is_hub_id(name) and not _exists(path):
        raise unknown(name, known)


def unknown(name: str, known: Iterable[str]) -> UpstreamError:
    """The error for a name that is in none of the lists."""
    close = difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.6)
    guess = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    return UpstreamError(
        f"-u {name!r} is not an upstream of S3PRL, nor one of ours. {guess}`s3prl-emotion ls upstreams` lists all."
    )


def check_reads(name: str, checkpoint: str | None, model_config: str | None) -> None:
    """Check that a name of S3PRL's reads ``-k`` and ``-g`` where they are given: its named upstreams ignore both.

    Raises:
        UpstreamError: naming the variants that do not
    """
    given = [flag for flag, value in (("-k", checkpoint), ("-g", model_config)) if value is not None]
    if given and not name.endswith(TAKES_CHECKPOINT):
        found = variants(name)
        local = f"use -u {' or '.join(found)}" if found else "it has no variant that reads one"
        raise UpstreamError(f"-u {name} ignores {' and '.join(given)}: it always loads its own checkpoint; {local}")


def variants(name: str) -> list[str]:
    """The names of the same family of S3PRL's that read a checkpoint from this disk or from elsewhere."""
    names = hub_names()
    if names is None or name not in names.functions:
        return []
    module = names.functions[name]
    return sorted(other for other, its in names.functions.items() if its == module and other.endswith(TAKES_CHECKPOINT))


@functools.cache
def hub_names() -> HubNames | None:
    """What ``s3prl.hub`` would hold, read from its source; None where the source cannot be read."""
    spec = importlib.util.find_spec("s3prl")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    functions: dict[str, str] = {}
    imported: set[str] = set()
    try:
        for node in _parsed(root / "hub.py").body:
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("s3prl."):
                continue
            module = str(node.module)
            if [alias.name for alias in node.names] != ["*"]:
                functions.update({alias.asname or alias.name: module for alias in node.names})
                continue
            for inner in _parsed(root.joinpath(*module.split(".")[1:]).with_suffix(".py")).body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    functions[inner.name] = module
                elif isinstance(inner, (ast.Import, ast.ImportFrom)):
                    imported.update(alias.asname or alias.name for alias in inner.names)
                elif isinstance(inner, ast.Assign):
                    imported.update(target.id for target in inner.targets if isinstance(target, ast.Name))
    except (OSError, SyntaxError, ValueError):
        return None
    return HubNames(functions, frozenset(imported))


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a null character
        return False
