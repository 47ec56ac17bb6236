"""YAML as configuration files use it: read in one pass over its events, before anything is built from them.

What PyYAML accepts and a configuration never means is refused here: a key given twice (the last would count), a value
that holds itself, and few lines whose anchors stand for billions of values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_VALUES = 10_000
"""Values in one file, those that anchors stand for counted wherever they stand."""
MAX_DEPTH = 32
MAX_BYTES = 1 << 20


class RefusedError(yaml.YAMLError):
    """Well-formed YAML that is no configuration."""


@dataclass
class _OpenNode:
    """A list or mapping that has begun."""

    is_mapping: bool
    anchor: str | None
    values: int = 1
    keys: set[str] = field(default_factory=set)
    expects_key: bool = True


def load_yaml(text: str) -> Any:
    """The content of YAML text: mappings, lists, texts, numbers, dates; nothing that executes code.

    Raises:
        yaml.YAMLError: if it is not YAML, or is refused
    """
    if len(text) > MAX_BYTES:
        raise RefusedError(f"{len(text)} characters, expected at most {MAX_BYTES}")
    _check_events(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:  # of values that contradict tags
        raise RefusedError(f"a value cannot be read: {type(error).__name__}: {str(error)[:100]}") from error


def _check_events(text: str) -> None:
    waiting: list[_OpenNode] = []
    sizes: dict[str, int] = {}  # of what each anchor stands for
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if waiting:
                _count_key(waiting[-1], None, line)
            waiting.append(_OpenNode(isinstance(event, yaml.MappingStartEvent), event.anchor))
            if len(waiting) > MAX_DEPTH:
                raise RefusedError(f"line {line}: nested more than {MAX_DEPTH} deep")
            continue
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = waiting.pop()
            size, anchor = done.values, done.anchor
        elif isinstance(event, yaml.ScalarEvent):
            size, anchor = 1, event.anchor
            if waiting:
                _count_key(waiting[-1], event.value, line)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise RefusedError(f"line {line}: *{event.anchor} stands for nothing, or for what holds it")
            size, anchor = sizes[event.anchor], None
            if waiting:
                _count_key(waiting[-1], None, line)
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        if waiting:
            waiting[-1].values += size
        if size > MAX_VALUES or (waiting and waiting[-1].values > MAX_VALUES):
            raise RefusedError(f"line {line}: more than {MAX_VALUES} values, anchors counted wherever they stand")


def _count_key(place: _OpenNode, text: str | None, line: int) -> None:
    """Keys and values of a mapping come in turns; ``text`` of a key that is a plain text."""
    if not place.is_mapping:
        return
    if place.expects_key and text is not None:
        if text in place.keys:
            raise RefusedError(f"line {line}: the key {text!r} is given twice")
        place.keys.add(text)
    place.expects_key = not place.expects_key
