"""Models of text, made once per session. Do not write into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from text.models import tiny_bert, tiny_ctc, tiny_roberta, tiny_whisper


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("text") / "tiny_bert")


@pytest.fixture(scope="session")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_roberta(tmp_path_factory.mktemp("text") / "tiny_roberta")


@pytest.fixture(scope="session")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_ctc(tmp_path_factory.mktemp("text") / "tiny_ctc")


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("text") / "tiny_whisper")
