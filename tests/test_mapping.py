"""Dataclasses from mappings that hold more than their fields, and back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import pytest

from s3prl_emotion.config import Reading, from_mapping
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.mapping import GIVEN, REST, Check, gathers, to_mapping

Share = Annotated[float, Check(lambda value: isinstance(value, float) and 0 <= value <= 1, "a fraction in [0, 1]")]


@dataclass(frozen=True, kw_only=True)
class Inner:
    share: Share | None = None
    further: dict[str, Any] = field(default_factory=dict, metadata=REST)
    given: tuple[str, ...] | None = field(default=None, compare=False, metadata=GIVEN)


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    shares: dict[str, Share] = field(
        default_factory=dict, metadata=gathers(lambda name, value: name.startswith("p_"), needed=("p_a",))
    )
    inner: Inner
    parts: dict[str, Inner] | None = None
    note: str = ""
    given: tuple[str, ...] | None = field(default=None, compare=False, metadata=GIVEN)


RECORD = Reading(RunError, "schema 7")


def _read(mapping: Any, reading: Reading = RECORD) -> Outer:
    return from_mapping(Outer, mapping, "f.json:", reading)


def test_keys_come_back_as_they_were() -> None:
    content = {"p_b": 0.5, "inner": {"x": [1], "share": None}, "name": "n", "p_a": 0.0, "parts": {"k": {"y": "z"}}}
    read = _read(content)
    assert (read.shares, read.inner.further) == ({"p_b": 0.5, "p_a": 0.0}, {"x": [1]})
    assert read.parts is not None
    assert read.parts["k"] == Inner(further={"y": "z"})
    assert to_mapping(read) == content
    assert list(to_mapping(read)) == list(content)
    assert list(to_mapping(read)["inner"]) == ["x", "share"]


def test_a_key_that_the_file_lacked_is_written_once_it_has_a_value() -> None:
    read = _read({"p_a": 0.5, "inner": {}, "name": "n"})
    assert to_mapping(read.inner) == {}
    later = replace(read, note="now", shares={"p_a": 0.5, "p_c": 1.0})
    assert list(to_mapping(later)) == ["p_a", "inner", "name", "p_c", "note"]


def test_what_was_made_here_is_written_in_the_order_of_fields() -> None:
    made = Outer(name="n", shares={"p_a": 0.5}, inner=Inner(share=1.0, further={"x": (1, 2)}))
    assert to_mapping(made) == {
        "name": "n",
        "p_a": 0.5,
        "inner": {"share": 1.0, "x": [1, 2]},
        "parts": None,
        "note": "",
    }
    assert list(to_mapping(made)) == ["name", "p_a", "inner", "parts", "note"]
    assert _read(to_mapping(made)).inner == replace(made.inner, further={"x": [1, 2]})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([1], r"f\.json: expected a mapping of keys to values, found list \[1\]"),
        ({"p_b": 0.5}, r"f\.json: missing name, p_a, inner of schema 7"),
        ({"name": "n", "p_a": 2.0, "inner": {}}, r"f\.json: p_a: expected a fraction in \[0, 1\], found 2\.0"),
        ({"name": "n", "p_a": "0.5", "inner": {}}, r"f\.json: p_a: expected a fraction in \[0, 1\], found '0\.5'"),
        (
            {"name": "n", "p_a": 0.5, "inner": {"share": [3]}},
            r"f\.json: inner\.share: expected a fraction in \[0, 1\] or null, found list \[3\]",
        ),
        (
            {"name": "n", "p_a": 0.5, "inner": {}, "parts": {"k": {"share": 7}}},
            r"f\.json: parts\.k\.share: expected a fraction in \[0, 1\] or null, found 7",
        ),
        ({"name": "n", "p_a": 0.5, "inner": {}, "note": 3}, r"f\.json: note: expected str, found 3"),
        ({"name": "n", "p_a": 0.5, "inner": {}, "nite": ""}, r"f\.json: unknown key 'nite'.*note"),
        ({"name": "n", "p_a": 0.5, "inner": {}, "shares": {}}, r"f\.json: unknown key 'shares'"),
        ({"name": "n", "p_a": 0.5, "inner": {}, "given": []}, r"f\.json: unknown key 'given'"),
    ],
)
def test_errors_are_those_of_a_record(mapping: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        _read(mapping)


def test_errors_of_a_configuration_stay_its_own() -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml: missing key 'name'"):
        from_mapping(Outer, {"p_a": 0.5}, "f.yaml")
    with pytest.raises(ConfigError, match=r"f\.yaml\.inner\.share: expected a fraction"):
        from_mapping(Outer, {"name": "n", "p_a": 0.5, "inner": {"share": 3}}, "f.yaml")
