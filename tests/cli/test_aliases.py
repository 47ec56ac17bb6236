"""Plain names beside older ones."""

from __future__ import annotations

import pytest

from s3prl_emotion.cli import main


def test_the_ladder_is_the_table_of_a_paper(capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for command in ("ladder", "paper-table"):
        assert main([command, "--rows", "nothing", "--data", "nowhere"]) == 2
        told.append(capsys.readouterr().err)
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("command", "older", "plain"), [("prepare", "--preparation", "--denoise"), ("evaluate", "--with", "--disturb")]
)
def test_options(command: str, older: str, plain: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert older in text
    assert plain in text
