"""Who may import whom: files in circles cannot be understood, tested or moved one at a time."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _modules() -> dict[str, Path]:
    """Every file by the name that it is imported by; a package is its ``__init__``."""
    found = {}
    for top in ("s3prl_emotion", "upstream_patches"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            inside = ("s3prl_emotion", *parts) if top == "upstream_patches" else parts
            found[".".join(inside).removesuffix(".__init__")] = path
    return found


def _imported(name: str, path: Path) -> set[str]:
    """Every module that a file imports, at its top, within a function or by ``importlib``, where the name is plain.

    A name that is taken from a module counts as one below it.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            found |= {str(given.value) for given in node.args if isinstance(given, ast.Constant)}
    return found


MODULES = _modules()
IMPORTED = {name: _imported(name, path) for name, path in MODULES.items()}


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _uses(name: str) -> set[str]:
    """The files of ours that one imports, but for the registries of its own packages, which are there for members."""
    found = {each if each in MODULES else each.rpartition(".")[0] for each in IMPORTED[name]}
    return {each for each in found if each in MODULES and not _within(name, each)}


def _importers(package: str) -> set[str]:
    return {name for name, found in IMPORTED.items() if any(_within(each, package) for each in found)}


def test_no_files_import_each_other_in_a_circle() -> None:
    order = graphlib.TopologicalSorter({name: _uses(name) for name in MODULES})
    try:
        order.prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(error.args[1][::-1])
        raise AssertionError(f"imports in a circle: {circle}") from None


def test_the_command_line_is_imported_by_nothing_beneath_it() -> None:
    own = {name for name in MODULES if _within(name, "s3prl_emotion.cli")}
    assert _importers("s3prl_emotion.cli") - own == {"s3prl_emotion.__main__"}


def test_s3prl_is_imported_by_the_bridge_and_by_adapters_alone() -> None:
    rooms = ("s3prl_emotion.s3prl_runner", "s3prl_emotion.upstream_patches")
    found = _importers("s3prl")
    assert {name for name in found if not any(_within(name, room) for room in rooms)} == set()
    assert any(_within(name, "s3prl_emotion.s3prl_runner") for name in found), "none would be found"


def _room(name: str) -> str:
    return ".".join(name.split(".")[:2])


def test_private_modules_are_imported_within_their_room_alone() -> None:
    """A module that begins with an underscore, and a name that does, belong to one room."""
    across = {
        (name, each)
        for name, found in IMPORTED.items()
        for each in found
        if re.search(r"\._(?!_)", each) and _within(each, "s3prl_emotion") and _room(each) != _room(name)
    }
    assert across == set()


def test_a_class_name_means_one_thing() -> None:
    trees = [ast.parse(path.read_bytes()) for path in MODULES.values()]
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_docstrings_of_modules_name_their_subject_first() -> None:
    first = {name: ast.get_docstring(ast.parse(path.read_bytes())) or "" for name, path in MODULES.items()}
    questions = re.compile(r"(What|Which|How far|When|Where|Whatever)\b|of ours\b")
    assert {name: text.splitlines()[0] for name, text in first.items() if questions.match(text)} == {}
