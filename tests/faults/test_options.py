"""Options that cannot be meant so."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.campaign import Fault, hold, table

pytestmark = pytest.mark.slow


@table(
    Fault("an unknown corpus", ("prepare", "--corpus", "emodb44", "--data", "x", "--out", "p"), ("emodb4",)),
    Fault("a negative seed", ("run", "-u", "fbank", "-d", "emotion_mean", "--seed", "-1"), ("0 or more",)),
)
def test_option(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hold(fault, tmp_path, capsys)
