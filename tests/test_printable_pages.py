"""Names that others chose, in Markdown and in spreadsheets."""

from __future__ import annotations

import csv
import io

import pytest

from s3prl_emotion.printable import block, cell, code, markdown
from s3prl_emotion.reporting.layout import Rows, listed, tabulated


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hubert_base, 50 %: p <0.0001, a < b", "hubert_base, 50 %: p <0.0001, a < b"),
        ("<b>", "&lt;b>"),
        ("</b", "&lt;/b"),
        ("<!-- x", "&lt;!-- x"),
        ("[a](javascript:1)", r"\[a\](javascript:1)"),
        (r"\[a]", r"\\\[a\]"),
        ("a|b`c", r"a\|b\`c"),
        ("&lt;b&gt; & c", "&amp;lt;b&amp;gt; & c"),
        ("a\n# b\t\x1b", r"a # b \\x1b"),
    ],
)
def test_a_line_of_markdown(text: str, shown: str) -> None:
    assert markdown(text) == shown
    assert listed([text]) == f"- {shown}"


def test_code_in_markdown() -> None:
    assert code("a_b") == "`a_b`"
    assert code("`` <b>\n``") == "``` `` <b> `` ```"
    assert block("a\n```\n<b>") == "````text\na\n```\n<b>\n````"


def test_a_table_of_markdown_keeps_its_columns() -> None:
    lines = tabulated(["a", "b"], [["x|y", "<i>"]], "github").splitlines()
    assert lines[-1].count("|") - lines[-1].count(r"\|") == 3
    assert "&lt;i>" in lines[-1]
    assert "x|y" in tabulated(["a", "b"], [["x|y", "<i>"]])


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1"])
def test_a_cell_is_no_formula(text: str) -> None:
    assert cell(text) == f"'{text}"
    buffer = io.StringIO()
    writer = Rows(buffer, ("name", "value"))
    writer.writerow({"name": text, "value": -0.5})
    writer.writerows([{"name": "a", "value": "-1e-3"}])
    assert list(csv.reader(io.StringIO(buffer.getvalue(), newline=""))) == [[f"'{text}", "-0.5"], ["a", "-1e-3"]]
