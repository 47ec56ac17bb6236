"""Field metadata and serialisation of configuration dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """In a field's ``Annotated[type, Check(...), ...]``: what its value must be, checked before it is converted.

    A text, number or truth value that passes stays as it is.
    """

    holds: Callable[[Any], bool]
    expected: str  # in words, for the message


GATHERS = "gathers"
REST = {GATHERS: (None, ())}
"""Metadata of a dataclass's field: a dict of the keys that no other field takes. Without one they are unknown."""
GIVEN = {"given": True}
"""Metadata of a field that is no key: the keys that there were, in their order, for :func:`to_mapping`;
None of what was not read."""
LATER = {"later": True}
"""Metadata of a field that earlier versions do not know: it is written only where it is not its default."""


def gathers(takes: Callable[[str, Any], bool], needed: Sequence[str] = ()) -> dict[str, Any]:
    """Metadata of a dataclass's field: a dict of further keys, by their names.

    Args:
        takes: whether the field takes a key, by its name and value; fields are asked in their order
        needed: keys that must be there
    """
    return {GATHERS: (takes, tuple(needed))}


def to_mapping(record: Any) -> dict[str, Any]:
    """A dataclass as plain values, gathered keys beside the others: the inverse of
    :func:`s3prl_emotion.config.from_mapping`.

    What was read from a file is written with the keys that it had, in their order; a key that it lacked follows if its
    value is no longer the default.
    """
    values: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    lacked: set[str] = set()
    given: tuple[str, ...] | None = None
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.metadata == GIVEN:
            given = value
        elif GATHERS in field.metadata:
            found = {key: _plain(item) for key, item in value.items()}
            (rest if field.metadata == REST else values).update(found)
        else:
            if field.metadata == LATER and value == field.default:
                continue
            values[field.name] = _plain(value)
            if value == field.default:
                lacked.add(field.name)
    values |= rest
    if given is None:
        return values
    kept = [key for key in given if key in values]
    return {key: values[key] for key in [*kept, *(key for key in values if key not in {*given, *lacked})]}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
