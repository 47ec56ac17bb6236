"""Many requests: what is held comes back, what fails stops nothing, what lacks a package is named."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.experiment import jobs
from s3prl_emotion.experiment.jobs import Job, Need, run_jobs
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

    monkeypatch.setattr(jobs, "run", run)
    monkeypatch.setattr(jobs, "check", lambda asked: None)
    monkeypatch.setattr(jobs, "WAIT_S", 0.0)
    return found


def test_held_points_come_back(ran: list[str]) -> None:
    worked = run_jobs([Job("a", request("held2")), Job("b", request("b")), Job("c", request("held1"))])
    assert ran == ["held2", "b", "held1", "held2", "held1", "held2"]
    assert worked.folders == {"a": [Path("held2-1")], "b": [Path("b-1")], "c": [Path("held1-1")]}
    worked.raise_failures(3)


def test_failures_stop_nothing(ran: list[str]) -> None:
    given = [Job(name, request(name)) for name in ("bad", "good", "worse")] + [Job("bad too", request("bad"))]
    worked = run_jobs(given)
    assert ran == ["bad", "good", "worse", "bad"]
    assert list(worked.folders) == ["good"]
    with pytest.raises(RunError) as caught:
        worked.raise_failures(4)
    told = str(caught.value)
    assert told.startswith("3 of 4 points failed; the others are kept, and the same command tries again:\n")
    assert "  bad, seed 1; bad too, seed 1: wrong\n" in told
    assert "division by zero" in told


def test_seeds_of_one_name_are_together(ran: list[str]) -> None:
    given = [Job("x", request("u", seed)) for seed in (2, 1)]
    assert run_jobs(given).folders == {"x": [Path("u-1"), Path("u-2")]}


def test_corpora_do_not_share_what_is_prepared(ran: list[str]) -> None:
    run_jobs([Job(name, request("u", data=Path(name))) for name in ("one", "two", "one")])


def test_a_missing_package_is_named(ran: list[str], caplog: pytest.LogCaptureFixture) -> None:
    need = Need("no_such_package", "pip install it")
    with caplog.at_level(logging.WARNING):
        worked = run_jobs([Job("x", request("u"), (need,)), Job("y", request("v"))])
    assert ran == ["v"]
    assert worked.skipped == {"x": "no_such_package is not installed: pip install it"}
    assert "x: skipped: no_such_package is not installed" in caplog.text


def test_settings_are_checked_before_anything_is_run(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def check(asked: Request) -> None:
        if asked.s3prl["upstream"] == "v":
            raise ConfigError("no such thing")

    monkeypatch.setattr(jobs, "check", check)
    with pytest.raises(ConfigError, match="no such thing"):
        run_jobs([Job("x", request("u")), Job("y", request("v"))])
    assert ran == []
