"""Nothing that others named makes a terminal do something."""

from __future__ import annotations

import logging

import pytest

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.printable import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a.wav: \u00c4rger, \u60b2\u3057\u3044, 100 %\n\tnext",
            "a.wav: \u00c4rger, \u60b2\u3057\u3044, 100 %\n\tnext",
        ),
        ("\x1b[2Ja", "\\x1b[2Ja"),
        ("a\rb\x07\x9b", "a\\rb\\x07\\x9b"),
        ("\u202egnp.wav", "\\u202egnp.wav"),
        ("x\udcff.wav", "x\\udcff.wav"),
        ("\u2028", "\\u2028"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, expected):
    assert printable(text) == expected


def test_log_lines_too(capsys):
    set_up_logging()
    logging.getLogger("s3prl_emotion.x").warning("%s: bad", "\x1b]0;owned\x07.wav")
    assert capsys.readouterr().err == "\\x1b]0;owned\\x07.wav: bad\n"
