"""Measure the English of README and docs: words per sentence, and filler words, without code blocks and tables.

``python scripts/measure_english.py [PAGE ...]`` prints a line per file and a total.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONG = 30
FILLERS = (
    r"ours",
    r"besides",
    r"told",
    r"said",
    r"where there is",
    r"of (?:its|their|your) own",
    r"whatever",
    r"likewise",
    r"as ever",
    r"it is that",
)
FILLER = re.compile(rf"\b(?:{'|'.join(FILLERS)})\b", re.IGNORECASE)
ENDS = re.compile(r"(?<=[.!?])[\"')*]*\s+|\n\n+")


def prose(markdown: str) -> str:
    """The paragraphs, headings and items of a page: each apart by an empty line."""
    text = re.sub(r"^---\n.*?^---$", "", markdown, count=1, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(?:\||<!--|!\[).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^(#+ .*)$", r"\n\1\n", text, flags=re.MULTILINE)
    text = re.sub(r"^(?:[-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]+`", "CODE", text)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def measure(text: str) -> tuple[list[int], int]:
    """Words of each sentence, and the number of filler words."""
    body = re.sub(r"^#+ .*$", "", text, flags=re.MULTILINE)
    words = [len(re.findall(r"\w[\w'.-]*", sentence)) for sentence in ENDS.split(body)]
    return [count for count in words if count], len(FILLER.findall(text))


def row(name: str, lengths: list[int], fillers: int) -> str:
    """One line of the table."""
    mean = sum(lengths) / max(1, len(lengths))
    share = 100 * sum(count > LONG for count in lengths) / max(1, len(lengths))
    return f"{name:32} {len(lengths):9} {sum(lengths):6} {mean:14.1f} {share:10.1f} {fillers:7}"


def main(pages: list[str]) -> None:
    """Print the table of the pages, or of README, CONTRIBUTING and docs."""
    found = [Path(page) for page in pages] or [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted(ROOT.glob("docs/**/*.md")),
    ]
    print(f"{'file':32} {'sentences':>9} {'words':>6} {'words/sentence':>14} {'% above 30':>10} {'fillers':>7}")
    total: list[int] = []
    number = 0
    for path in found:
        lengths, fillers = measure(prose(path.read_text(encoding="utf-8")))
        print(row(path.resolve().relative_to(ROOT).as_posix(), lengths, fillers))
        total += lengths
        number += fillers
    print(row("total", total, number))


if __name__ == "__main__":
    main(sys.argv[1:])
