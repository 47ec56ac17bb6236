"""What a generic table is warned about."""

from __future__ import annotations

import pytest

from s3prl_emotion.corpora import corpora
from s3prl_emotion.errors import CorpusError


def test_labels_that_differ_by_case(tmp_path, caplog) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,label,speaker\na.wav,ANG,s1\nb.wav,ang,s1\nc.wav,ang,s2\n")
    manifest = corpora.get("table").read(table)
    assert manifest.labels == ("ANG", "ang")
    assert caplog.text.count("differ by case only and are two classes") == 1


def test_paths_that_differ_by_their_ending_only(tmp_path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,label,speaker\na.wav,x,s1\na.mp3,y,s1\n")
    with pytest.raises(CorpusError, match=r"row 3, column 'path': 'a' is already in row 2.* give ids"):
        corpora.get("table").read(table)


def test_an_open_quotation_mark(tmp_path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('path,label,speaker\na.wav,"' + "x" * 140_000 + ",s1\n")
    with pytest.raises(CorpusError, match="row 2: the quotation mark that opens a field is not closed"):
        corpora.get("table").read(table)
