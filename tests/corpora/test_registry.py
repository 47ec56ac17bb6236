"""What holds for every corpus."""

from __future__ import annotations

import subprocess
import sys

import pytest

from s3prl_emotion.corpora import corpora
from s3prl_emotion.errors import ConfigError, CorpusError
from s3prl_emotion.protocols import protocols

NAMES = ("demo", "emodb", "emodb4", "iemocap", "superb_metadata", "table")


def test_names():
    assert set(NAMES) <= set(corpora.names())
    with pytest.raises(ConfigError, match="Did you mean 'iemocap'"):
        corpora.get("iemocp")


@pytest.mark.parametrize("name", NAMES)
def test_facts(name):
    corpus = corpora.get(name)
    assert corpus.name == name
    assert corpus.licence
    assert corpus.citation
    assert corpus.source
    assert "://" not in corpus.licence + corpus.citation + corpus.source
    assert corpus.default_protocol in protocols.names()
    assert not corpus.counts or set(corpus.counts) == set(corpus.labels)
    assert not corpus.fold_counts or sum(corpus.fold_counts.values()) == corpus.count
    assert not corpus.fold_counts or len(corpus.fold_counts) == corpus.folds


@pytest.mark.parametrize("name", NAMES)
def test_wrong_root_and_wrong_option(name, tmp_path):
    with pytest.raises(CorpusError, match=f"absent: no such file or folder. Corpus {name} expects"):
        corpora.get(name).read(tmp_path / "absent")
    with pytest.raises(CorpusError, match=r"(?i)expected"):
        corpora.get(name).read(tmp_path)
    with pytest.raises(CorpusError, match=f"corpus {name}: unknown option 'metadata'"):
        corpora.get(name).read(tmp_path, metadata=".")


def test_counts():
    assert corpora.get("iemocap").count == 5531
    assert corpora.get("emodb").count == 535
    assert corpora.get("emodb4").count == 339
    assert corpora.get("table").count is None


def test_import_and_scan_are_light():
    code = (
        "import sys; from s3prl_emotion.corpora import corpora; from s3prl_emotion.protocols import protocols;"
        "corpora.names(); protocols.names(); sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
