"""Threads that wait do not keep their core from other processes, unless the user says so."""

from __future__ import annotations

import os

import pytest

from s3prl_emotion.cli import SPIN_COUNT, main


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, str(SPIN_COUNT)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_spinning_is_short_unless_the_user_says(
    monkeypatch, capsys, given: dict[str, str], expected: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["ls", "poolings"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == expected
