"""Measure the package as a house: files, lines, classes, import depth, checks, and what one demo fold executes.

Run it as ``python scripts/measure_house.py [--demo] [FOLDER]``; FOLDER is a checkout, by default this one.

Definitions:
    lines: all lines of all Python files of the package and of ``upstream_patches``.
    homonyms: class names that two or more files define.
    depth: files on the longest chain of imports, imports inside functions included.
    raises: ``raise`` statements for each 1000 lines.
    checks: lines of ``raise`` statements, of ``if`` statements that do nothing else, and of ``__post_init__``,
        divided by the other lines of statements in functions.
    executed: files of which at least one function runs in one fold of the demo (``--demo``; it trains 25 steps).
"""

from __future__ import annotations

import argparse
import ast
import functools
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

COUNT = """
import sys, threading
from pathlib import Path
root, files = sys.argv.pop(1), set()
def profile(frame, event, argument):
    if event == "call":
        files.add(frame.f_code.co_filename)
sys.setprofile(profile)
threading.setprofile(profile)
from s3prl_emotion.cli import main
try:
    main(sys.argv[1:])
except SystemExit as error:
    assert not error.code, error.code
finally:
    sys.setprofile(None)
inside = [Path(root, "s3prl_emotion"), Path(root, "upstream_patches")]
print("EXECUTED", sum(any(folder in Path(file).parents for folder in inside) for file in files))
"""
DEMO = (
    *("run", "-u", "fbank", "-d", "emotion_attn_corr", "--demo", "--fold", "1"),
    *("-o", "config.runner.total_steps=25"),
)


def modules(root: Path) -> dict[str, ast.Module]:
    """Every file by the name that it is imported by."""
    found = {}
    for top in ("s3prl_emotion", "upstream_patches"):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            inside = ("s3prl_emotion", *parts) if top == "upstream_patches" else parts
            found[".".join(inside).removesuffix(".__init__")] = ast.parse(path.read_bytes())
    return found


def lines_of(node: ast.AST) -> int:
    """Lines of a node."""
    return int(node.end_lineno - node.lineno + 1)  # type: ignore[attr-defined]


def checks(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function that check."""
    if function.name == "__post_init__":
        return sum(map(lines_of, function.body))
    found = 0
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Raise) or (
            isinstance(node, ast.If) and not node.orelse and all(isinstance(item, ast.Raise) for item in node.body)
        ):
            found += lines_of(node)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            stack += ast.iter_child_nodes(node)
    return found


def statements(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's statements, without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return sum(map(lines_of, body))


def depth(trees: dict[str, ast.Module]) -> int:
    """Files on the longest chain of imports."""

    def imported(name: str) -> set[str]:
        found = set()
        for node in ast.walk(trees[name]):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        known = {each if each in trees else each.rpartition(".")[0] for each in found}
        return {each for each in known if each in trees and not f"{name}.".startswith(f"{each}.")}

    @functools.cache
    def chain(name: str) -> int:
        return 1 + max(map(chain, imported(name)), default=0)

    return max(map(chain, trees))


def executed(root: Path) -> int:
    """Files that one fold of the demo executes."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", COUNT, str(root), *DEMO],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.rpartition("EXECUTED")[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--demo", action="store_true", help="count the files that one demo fold executes")
    args = parser.parse_args()
    root = args.folder.resolve()
    trees = modules(root)
    paths = [path for top in ("s3prl_emotion", "upstream_patches") for path in (root / top).rglob("*.py")]
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    classes = Counter(node.name for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    checking = sum(map(checks, functions))
    working = sum(map(statements, functions)) - checking
    figures = {
        "files": len(paths),
        "lines": sum(lengths),
        "median lines of a file": median(lengths),
        "longest file": max(lengths),
        "files of at most 40 lines": sum(length <= 40 for length in lengths),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "homonyms": sum(count > 1 for count in classes.values()),
        "depth": depth(trees),
        "raises per 1000 lines": round(1000 * sum(isinstance(node, ast.Raise) for node in nodes) / sum(lengths), 1),
        "checks per line of work": round(checking / working, 2),
    }
    if args.demo:
        figures["executed by one demo fold"] = executed(root)
    for name, value in figures.items():
        print(f"{name:28}{value:>8}")


if __name__ == "__main__":
    main()
