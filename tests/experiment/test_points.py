"""Many requests: what is held comes back, what fails stops nothing, what lacks a package is named."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.experiment import points
from s3prl_emotion.experiment.points import Need, Point, work_off
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.locks import HeldError


def request(name: str, seed: int = 1, **changes: Any) -> Request:
    return Request({"upstream": name, "downstream": "emotion_mean", "seed": seed}, **{"corpus": "demo", **changes})


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Upstreams in the order in which they are run; ``held2`` is held twice, ``bad`` fails, ``worse`` by a fault."""
    found: list[str] = []

    def run(asked: Request, prepared: dict[str, Any], statistics: dict[Any, Any]) -> tuple[Path, None]:
        name = str(asked.s3prl["upstream"])
        found.append(name)
        assert prepared.setdefault("of", str(asked.data)) == str(asked.data), "shared between corpora"
        if name.startswith("held") and found.count(name) <= int(name[4:]):
            raise RunError("another process is working on this fold") from HeldError("x")
        if name == "bad":
            raise ConfigError("wrong")
        if name == "worse":
            raise ZeroDivisionError("division by zero")
        return Path(f"{name}-{asked.s3prl['seed']}"), None

    monkeypatch.setattr(points, "run", run)
    monkeypatch.setattr(points, "check", lambda asked: None)
    monkeypatch.setattr(points, "WAIT_S", 0.0)
    return found


def test_held_points_come_back(ran: list[str]) -> None:
    worked = work_off([Point("a", request("held2")), Point("b", request("b")), Point("c", request("held1"))])
    assert ran == ["held2", "b", "held1", "held2", "held1", "held2"]
    assert worked.folders == {"a": [Path("held2-1")], "b": [Path("b-1")], "c": [Path("held1-1")]}
    worked.raise_failures(3)


def test_failures_stop_nothing(ran: list[str]) -> None:
    given = [Point(name, request(name)) for name in ("bad", "good", "worse")] + [Point("bad too", request("bad"))]
    worked = work_off(given)
    assert ran == ["bad", "good", "worse", "bad"]
    assert list(worked.folders) == ["good"]
    with pytest.raises(RunError) as caught:
        worked.raise_failures(4)
    told = str(caught.value)
    assert told.startswith("3 of 4 points failed; the others are kept, and the same command tries again:\n")
    assert "  bad, seed 1; bad too, seed 1: wrong\n" in told
    assert "division by zero" in told


def test_seeds_of_one_name_are_together(ran: list[str]) -> None:
    given = [Point("x", request("u", seed)) for seed in (2, 1)]
    assert work_off(given).folders == {"x": [Path("u-1"), Path("u-2")]}


def test_corpora_do_not_share_what_is_prepared(ran: list[str]) -> None:
    work_off([Point(name, request("u", data=Path(name))) for name in ("one", "two", "one")])


def test_a_missing_package_is_named(ran: list[str], caplog: pytest.LogCaptureFixture) -> None:
    need = Need("no_such_package", "pip install it")
    with caplog.at_level(logging.WARNING):
        worked = work_off([Point("x", request("u"), (need,)), Point("y", request("v"))])
    assert ran == ["v"]
    assert worked.skipped == {"x": "no_such_package is not installed: pip install it"}
    assert "x: skipped: no_such_package is not installed" in caplog.text


def test_settings_are_checked_before_anything_is_run(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def check(asked: Request) -> None:
        if asked.s3prl["upstream"] == "v":
            raise ConfigError("no such thing")

    monkeypatch.setattr(points, "check", check)
    with pytest.raises(ConfigError, match="no such thing"):
        work_off([Point("x", request("u")), Point("y", request("v"))])
    assert ran == []
