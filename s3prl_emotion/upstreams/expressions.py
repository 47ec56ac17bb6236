"""Texts of a checkpoint's settings that S3PRL evaluates as Python: nothing but arithmetic on numbers is let through.

So a file of tensors and plain values only could execute code, too, if a model's configuration were taken as it is.
"""

from __future__ import annotations

import argparse
import ast
import pickle
import reprlib
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import torch
import yaml

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.safe_yaml import load_yaml
from s3prl_emotion.upstreams.bounds import check_archive, check_settings_sizes, check_tensors
from s3prl_emotion.upstreams.files import TORN, check_numbers, is_trusted, refusal

EVALUATED = frozenset(
    {
        "conv_feature_layers",
        "conv_aggregator_layers",
        "extractor_conv_feature_layers",
        "override_encoder_layers",
        "xformers_att_config",
    }
)
"""Settings that ``s3prl/upstream`` passes to ``eval``: every such call in s3prl 0.4.18 whose text is not its own."""

NAMED = frozenset({"feat_type"})
"""Settings that it evaluates with a prefix, as ``torchaudio.compliance.kaldi.<feat_type>``."""

SETTINGS = frozenset({"task_cfg", "model_cfg", "cfg", "config", "Config"})
"""Where checkpoints that S3PRL reads keep their settings."""

_PLAIN = (str, int, float, complex, bool, NoneType, list, tuple, dict, OrderedDict, argparse.Namespace)
_LONGEST = 10_000
"""Values in the longest list that a setting may stand for; real ones have about ten."""
_ALLOWED = (
    *(ast.Expression, ast.List, ast.Tuple, ast.Constant, ast.Load),
    *(ast.BinOp, ast.Add, ast.Mult, ast.UnaryOp, ast.USub),
)


def check_expressions(content: Mapping[Any, Any], where: str) -> None:
    """Refuse settings that could make S3PRL execute code.

    Evaluated texts may hold numbers, lists, tuples, ``+``, ``*`` and a minus sign. Other texts are never evaluated, and
    pass. Settings are numbers, texts, lists, tuples and names with values; anything else is refused.

    Args:
        content: of a checkpoint, or of a configuration file
        where: its name, for messages

    Raises:
        UpstreamError: naming the setting, unless the file is trusted
    """
    if is_trusted():
        return
    for key, value, is_setting in _walk(content):
        name = key.rpartition(".")[2]
        if name in EVALUATED | NAMED and not (_is_name(value) if name in NAMED else _is_arithmetic(value)):
            expected = "a name" if name in NAMED else "numbers, lists, tuples, + and * only"
            raise UpstreamError(
                f"{where}: refused, because S3PRL evaluates texts of its configuration, and {key} is "
                f"{_shown(value)}: expected {expected}. {_NOTHING}"
            )
        if is_setting and type(value) not in _PLAIN:
            raise UpstreamError(
                f"{where}: refused, because S3PRL evaluates its configuration, and {key} is no plain value but "
                f"{_shown(value)} ({type(value).__name__}). {_NOTHING}"
            )


def check_s3prl_file(path: Path) -> Mapping[Any, Any]:
    """:func:`check_expressions` on a checkpoint that S3PRL itself will load, read as S3PRL reads it: by torch.

    Some of S3PRL's entries let pickles execute code, and all do before torch 2.6. So what cannot be read without is
    refused.

    Returns:
        what it holds, its tensors still on the disk where its format allows; nothing of a trusted file

    Raises:
        UpstreamError: if it wants to execute code, or torch cannot read it
    """
    if is_trusted():
        return {}
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"  # then tensors stay on the disk
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip or None)
    except pickle.UnpicklingError as error:
        raise UpstreamError(refusal(str(path), error)) from error
    except (*TORN, zipfile.BadZipFile) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UpstreamError(
            f"{path}: the weights cannot be loaded, the file is torn or no checkpoint: {text}"
        ) from error
    found = content if isinstance(content, Mapping) else {"": content}
    check_tensors(content, str(path))
    check_expressions(found, str(path))
    for state in found.values():
        if isinstance(state, Mapping):
            tensors = {str(name): value for name, value in state.items() if isinstance(value, torch.Tensor)}
            check_numbers(tensors, path)
    for key, value, is_setting in _walk(found):
        fields = _fields(value)
        if fields is not None and (is_setting or key in SETTINGS):
            check_settings_sizes(fields, found, f"{path}: {key}")
    return found


def check_s3prl_settings(path: Path) -> None:
    """:func:`check_expressions` on a configuration file (``-g``) that S3PRL itself will read, YAML or JSON.

    Raises:
        UpstreamError: if it holds more than plain values, or a text that would execute code
    """
    if is_trusted():
        return
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        first = " ".join(str(error).split())[:200]
        raise UpstreamError(f"{path}: not readable as YAML or JSON with plain values: {first}") from error
    found = {"config": content} if isinstance(content, Mapping) else {}
    check_expressions(found, str(path))
    for key, value, _ in _walk(found):
        if isinstance(value, Mapping):
            check_settings_sizes(value, {}, f"{path}: {key}")


_NOTHING = "Nothing was executed. If you trust where the file comes from, add --trust-checkpoint"


def _walk(content: Mapping[Any, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Every value in nested mappings, objects and sequences: its key, itself, and whether it is among settings."""
    seen = {id(content)}
    waiting: list[tuple[str, Any, bool]] = [("", content, False)]
    while waiting:
        key, value, is_setting = waiting.pop()
        fields = _fields(value)
        if fields is not None:
            items = [
                (f"{key}.{name}" if key else str(name), item, is_setting or name in SETTINGS)
                for name, item in fields.items()
                if isinstance(name, (str, int, float, NoneType))
            ]
        elif isinstance(value, (list, tuple)):
            items = [(key, item, is_setting) for item in value if type(item) not in (int, float)]
            if key.rpartition(".")[2] in EVALUATED | NAMED:
                items = []  # judged as a whole
        else:
            continue
        for item in items:
            yield item
            if id(item[1]) not in seen:
                seen.add(id(item[1]))
                waiting.append(item)


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """Names and values of a mapping or of a Namespace, which torch's safe loading lets through here."""
    if isinstance(value, Mapping):
        return value
    return vars(value) if type(value) is argparse.Namespace else None


def _is_arithmetic(value: Any) -> bool:
    if value is None or type(value) in (int, float, bool):
        return True
    if isinstance(value, (list, tuple)):  # not evaluated, or written out first
        return _is_plain_list(value)
    if type(value) is not str or len(value) > _LONGEST:
        return False
    if not value.strip():
        return True
    try:
        tree = ast.parse(value.strip(), mode="eval")
        nodes = list(ast.walk(tree))
        return (
            all(
                isinstance(node, _ALLOWED) and (not isinstance(node, ast.Constant) or type(node.value) in (int, float))
                for node in nodes
            )
            and _size(tree.body) <= _LONGEST
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_plain_list(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether nested lists hold what is arithmetic, and not so much that it is a trap."""
    waiting: list[Any] = [value]
    count = 0
    while waiting:
        item = waiting.pop()
        count += 1
        if count > _LONGEST:
            return False
        if type(item) in (list, tuple):
            waiting += item
        elif isinstance(item, (list, tuple)) or not _is_arithmetic(item):
            return False
    return True


def _size(node: ast.expr) -> int:
    """A bound for the number of values in what an expression gives; factors count as they stand."""
    if isinstance(node, (ast.List, ast.Tuple)):
        return 1 + sum(_size(item) for item in node.elts)
    if isinstance(node, ast.BinOp):
        one, other = (max(_size(side), _factor(side)) for side in (node.left, node.right))
        is_product = isinstance(node.op, ast.Mult)
        return one * other if is_product else one + other
    return _size(node.operand) if isinstance(node, ast.UnaryOp) else 1


def _factor(node: ast.expr) -> int:
    """How often a list that is multiplied by ``node`` is repeated at most."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return int(min(abs(node.value), _LONGEST + 1))
    return 1


def _is_name(value: Any) -> bool:
    return type(value) is str and value.isascii() and value.isidentifier()


def _shown(value: Any) -> str:
    return reprlib.repr(value)[:80]
