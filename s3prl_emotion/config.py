"""Typed configuration: nested mappings (YAML) into frozen dataclasses, with errors that name the file and the key."""

from __future__ import annotations

import dataclasses
import functools
import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from s3prl_emotion.errors import ConfigError, EmotionError, suggest
from s3prl_emotion.mapping import GATHERS, GIVEN
from s3prl_emotion.safe_yaml import MAX_DEPTH, MAX_VALUES, load_yaml

D = TypeVar("D")

MAX_INTEGER = 2**31 - 1
"""The largest whole number of a setting: what torch's loaders and counters take."""
MAX_TEXT = 4096
"""The longest text of a setting, in characters."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        ConfigError: if the file is missing, is not YAML or holds something else
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}")
    return content


def shown(value: Any) -> str:
    """A value as an error message shows it: its beginning and end, if it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 80
    try:
        return short.repr(value)
    except ValueError:  # an integer of more digits than Python writes out
        return f"a {type(value).__name__} of enormous size"


def check_plain(value: Any, where: str, key: str = "") -> None:
    """Refuse what a configuration cannot hold: anything but texts, finite numbers, true, false, null, lists
    and mappings with texts as keys, in reasonable number, size and depth.

    Args:
        value: a configuration, or a part of one
        where: file or option, put in front of error messages
        key: of the part, with dots

    Raises:
        ConfigError: naming the first key whose value is none of these
    """
    count = 0
    waiting: list[tuple[str, Any, int]] = [(key, value, 0)]
    while waiting:
        name, item, depth = waiting.pop()
        told = f"{where}: {name or 'the configuration'}"
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise ConfigError(f"{told}: more than {MAX_VALUES} values, or nested more than {MAX_DEPTH} deep")
        if type(item) is str:
            if len(item) > MAX_TEXT or "\0" in item:
                raise ConfigError(f"{told}: expected at most {MAX_TEXT} characters and no NUL, found {shown(item)}")
        elif type(item) is int:
            if abs(item) >= 2**63:
                raise ConfigError(f"{told}: expected a number of at most 63 bits, found {shown(item)}")
        elif isinstance(item, dict):
            for part in item:
                if type(part) is not str:
                    raise ConfigError(f"{told}: expected texts as keys, found {shown(part)}")
            waiting += [(f"{name}.{part}" if name else part, inner, depth + 1) for part, inner in item.items()]
        elif isinstance(item, (list, tuple)):
            waiting += [(f"{name}[{place}]", inner, depth + 1) for place, inner in enumerate(item)]
        elif type(item) is float:
            if not math.isfinite(item):
                raise ConfigError(f"{told}: expected a finite number, found {shown(item)}")
        elif item is not None and type(item) is not bool:
            raise ConfigError(
                f"{told}: expected a text, a number, true, false, null, a list or keys with values, found "
                f"{type(item).__name__} {shown(item)}"
            )


@dataclass(frozen=True)
class Reading:
    """Of what :func:`from_mapping` reads: a configuration, unless said otherwise."""

    error: type[EmotionError] = ConfigError
    schema: str = ""  # of a record, for messages on missing keys: "schema 1"


CONFIGURATION = Reading()


def from_mapping(cls: type[D], mapping: Any, where: str, reading: Reading = CONFIGURATION) -> D:
    """Build the dataclass ``cls`` from a mapping, converting and checking every value.

    A string such as ``"1e-4"``, which YAML 1.1 does not read as a number, is accepted for a float without a
    :class:`~s3prl_emotion.mapping.Check`.

    Args:
        cls: a dataclass; its own ``__post_init__`` may raise ``ValueError`` for values out of range
        mapping: the values
        where: file and key, put in front of error messages; a key follows a colon at the end after a blank, else a dot
        reading: what is read

    Raises:
        ConfigError: for an unknown or missing key, a value of another type or one out of range; another error of
            ours where ``reading`` says so
    """
    at = where.removesuffix(":")
    if not isinstance(mapping, Mapping):
        raise reading.error(f"{at}: expected a mapping of keys to values, found {_found(mapping)}")
    values, gathers = _values(cls, mapping, where, reading)
    missing = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            missing.append(field.name)
        if field.name in gathers:
            missing += [key for key in field.metadata[GATHERS][1] if key not in values[field.name]]
    if missing and reading.schema:
        raise reading.error(f"{at}: missing {', '.join(missing)} of {reading.schema}")
    if missing:
        raise reading.error(f"{at}: missing key {missing[0]!r}")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise reading.error(f"{at}: {error}") from error


def _values(
    cls: type[D], mapping: Mapping[Any, Any], where: str, reading: Reading
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of ``cls``, and those of its fields that gather keys."""
    hints = _type_hints(cls)  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    gathers: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if GATHERS in field.metadata:
            gathers[field.name] = field.metadata[GATHERS][0]
            values[field.name] = {}
        elif field.metadata == GIVEN:
            values[field.name] = tuple(mapping)
        else:
            fields[field.name] = field
    rest = next((name for name, takes in gathers.items() if takes is None), None)
    for key, value in mapping.items():
        place = f"{where} {key}" if where.endswith(":") else f"{where}.{key}"
        if key in fields:
            values[key] = _convert(hints[key], value, place, reading)
            continue
        name = next((name for name, takes in gathers.items() if takes and takes(key, value)), rest)
        if name is None:
            raise reading.error(
                f"{where.removesuffix(':')}: unknown key {shown(key)}. {suggest(str(key)[:80], fields)}"
            )
        values[name][key] = _convert(get_args(hints[name])[1], value, place, reading)
    return values, gathers


def _found(value: Any) -> str:
    """What a message says of a value of another kind than expected."""
    return f"{type(value).__name__} {shown(value)}" if isinstance(value, (list, Mapping)) else shown(value)


@functools.lru_cache(maxsize=64)
def _type_hints(cls: type) -> dict[str, Any]:
    """Evaluating annotations takes longer than reading a row of a manifest."""
    return get_type_hints(cls, include_extras=True)


def _convert(hint: Any, value: Any, where: str, reading: Reading, or_null: str = "") -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        nullable = type(None) in get_args(hint)
        if value is None and nullable:
            return None
        (inner,) = (item for item in get_args(hint) if item is not type(None))
        return _convert(inner, value, where, reading, " or null" if nullable else "")
    if origin is Annotated:
        hint, *checks = get_args(hint)
        for check in checks:
            if not check.holds(value):
                raise reading.error(f"{where}: expected {check.expected}{or_null}, found {_found(value)}")
        return value if hint in _SCALARS else _convert(hint, value, where, reading)
    if origin is Literal:
        if value not in get_args(hint):
            raise reading.error(f"{where}: unknown name {shown(value)}. {suggest(str(value)[:80], get_args(hint))}")
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_mapping(hint, value, where, reading)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise reading.error(f"{where}: expected a list, found {shown(value)}")
        return tuple(
            _convert(get_args(hint)[0], item, f"{where}[{index}]", reading) for index, item in enumerate(value)
        )
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise reading.error(f"{where}: expected a mapping of keys to values, found {_found(value)}")
        inner = get_args(hint)[1] if origin is dict else Any
        if inner in (*_SCALARS, Any):  # checked by the class itself
            return dict(value)
        return {key: _convert(inner, item, f"{where}.{key}", reading) for key, item in value.items()}
    return _scalar(hint, value, where, reading)


def _scalar(hint: Any, value: Any, where: str, reading: Reading) -> Any:
    if hint is float and not isinstance(value, bool):
        try:
            number = float(value)
        except (OverflowError, TypeError, ValueError):
            raise reading.error(f"{where}: expected a number, found {shown(value)}") from None
        if not math.isfinite(number):
            raise reading.error(f"{where}: expected a finite number, found {shown(value)}")
        return number
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if hint is int and type(value) is int and abs(value) > MAX_INTEGER:
        raise reading.error(f"{where}: expected a whole number of at most {MAX_INTEGER}, found {shown(value)}")
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise reading.error(f"{where}: expected {hint.__name__}, found {shown(value)}")


_SCALARS = (str, int, float, bool)
