"""Names and configuration: every mistake is an error that names the file, the key and the nearest known one."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass

import pytest

from s3prl_emotion.config import from_mapping, read_yaml
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.registry import Registry


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    steps: int
    inner: Inner = Inner()
    note: str | None = None
    flag: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


def test_values_are_converted() -> None:
    made = from_mapping(Outer, {"steps": 3.0, "inner": {"rate": "1e-4", "names": ["a", "b"]}}, "f.yaml")
    assert made == Outer(3, Inner(1e-4, ("a", "b")))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"steps": 1, "innner": {}}, r"f\.yaml: unknown key 'innner'. Did you mean 'inner'\?"),
        ({"steps": 1, "inner": {"rat": 1}}, r"f\.yaml\.inner: unknown key 'rat'. Did you mean 'rate'\?"),
        ({}, r"f\.yaml: missing key 'steps'"),
        ({"steps": "many"}, r"f\.yaml\.steps: expected int, found 'many'"),
        ({"steps": True}, r"f\.yaml\.steps: expected int, found True"),
        ({"steps": 1, "inner": {"rate": "fast"}}, r"f\.yaml\.inner\.rate: expected a number, found 'fast'"),
        ({"steps": 1, "inner": {"names": "a"}}, r"f\.yaml\.inner\.names: expected a list, found 'a'"),
        ({"steps": 1, "inner": 3}, r"f\.yaml\.inner: expected a mapping of keys to values, found 3"),
        ({"steps": 0}, r"f\.yaml: steps must be at least 1, got 0"),
        ({"steps": 1, "flag": 1}, r"f\.yaml\.flag: expected bool, found 1"),
    ],
)
def test_mistakes_are_named(mapping: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, mapping, "f.yaml")


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "not valid YAML"), ("- a", "expected a mapping"), (None, "no such")]
)
def test_unreadable_yaml(tmp_path, text: str | None, message: str) -> None:
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Registry:
    package = tmp_path / "things_for_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from s3prl_emotion.registry import Registry\nthings = Registry('thing', 'things_for_test')\n"
    )
    (package / "one.py").write_text(
        textwrap.dedent(
            """
            from things_for_test import things

            @things.register("square")
            class Square:
                def __init__(self, size, side=1):
                    if side < 0:
                        raise ValueError(f"side must be at least 0, got {side}")
                    self.area = size * side
            """
        )
    )
    (package / "_hidden.py").write_text("raise RuntimeError('underscored modules are not scanned')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("things_for_test").things
    for name in [name for name in sys.modules if name.startswith("things_for_test")]:
        del sys.modules[name]


def test_registry_scans_and_builds(registry: Registry) -> None:
    assert registry.names() == ("square",)
    assert registry.build("square", {"side": 3}, size=2).area == 6


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sqare", {}, "c.yaml: unknown thing 'sqare'. Did you mean 'square'?"),
        ("square", {"sid": 1}, "c.yaml: unknown option 'sid' of thing 'square'. Did you mean 'side'? Known: side."),
        ("square", {"side": -1}, "c.yaml: thing 'square': side must be at least 0, got -1"),
    ],
)
def test_registry_mistakes(registry: Registry, name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.build(name, options, "c.yaml", size=1)
    assert message in str(caught.value)


def test_a_name_belongs_to_one_thing(registry: Registry) -> None:
    registry.names()
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("square")(object())
