"""Two processes with one command share its points: both end well, with one table, and nothing is trained twice."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ProtocolError

sys.path.insert(0, str(Path(__file__).parents[1]))
from faults.processes import end, start

pytestmark = pytest.mark.slow
STEPS = (
    "config.runner.total_steps=60,,config.runner.eval_step=30,,config.runner.save_step=60,,config.runner.log_step=30"
)
NEURAL = ("-u", "fbank", "--fold", "1", "-o", STEPS)


def _counting(log: Path, barrier: object) -> Callable[[], None]:
    """Let both processes begin together, and say in a file what each of them trains or fits."""

    def inject() -> None:
        from s3prl_emotion.experiment import classical, jobs
        from s3prl_emotion.s3prl_runner import launch

        jobs.WAIT_S = 0.2

        def said(function: Callable[..., object], place: int) -> Callable[..., object]:
            def call(*given: object, **more: object) -> object:
                with log.open("a") as file:
                    file.write(f"{getattr(given[place], 'path', given[place])}\n")
                return function(*given, **more)

            return call

        launch.train = said(launch.train, 2)  # type: ignore[assignment]
        classical._run_fold = said(classical._run_fold, 3)  # type: ignore[assignment]
        barrier.wait(60)  # type: ignore[attr-defined]

    return inject


@pytest.mark.parametrize(
    ("argv", "trainings"),
    [
        (("sweep", *NEURAL, "-d", "emotion_mean,emotion_mean_std", "--lr", "1e-2,1e-3", "--seeds", "1,2"), 8),
        (("run", *NEURAL, "-d", "emotion_mean", "--seeds", "1,2,3"), 3),
        (("classical", "-u", "fbank_no_cmvn", "--classifier", "logistic,svm,knn", "--seeds", "1,2"), 30),
        (("classical", "-u", "fbank_no_cmvn", "--classifier", "logistic,knn", "--layers", "each"), 10),
    ],
    ids=["sweep", "seeds", "classical", "layers"],
)
def test_two_processes_share_the_points(argv: tuple[str, ...], trainings: int, demo_root: Path, tmp_path: Path) -> None:
    command = [*argv, "--corpus", "demo", "--data", str(demo_root), "--device", "cpu"]
    command += ["--cache-root", str(tmp_path / "cache"), "--root", str(tmp_path / "result")]
    barrier = multiprocessing.get_context("fork").Barrier(2)
    inject = _counting(tmp_path / "trained", barrier)
    children = [start(command, tmp_path / f"log{number}", inject) for number in (1, 2)]
    statuses = [end(child) for child in children]
    said = [(tmp_path / f"log{number}").read_text() for number in (1, 2)]
    assert statuses == [0, 0], said
    trained = (tmp_path / "trained").read_text().splitlines()
    assert len(trained) == trainings
    assert len(set(trained)) == trainings
    tables = [text[text.rindex("\n\n", 0, len(text) - 3) :] for text in said]
    assert tables[0] == tables[1]


def test_a_corpus_that_leaks_stops_a_list_once(
    demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is decoded and audited once, and the reason is said once."""
    from s3prl_emotion.experiment import splits

    made: list[Path] = []

    def leaks(*given: object, **_: object) -> tuple[Manifest, object]:
        made.append(Path(str(given[4])))
        raise ProtocolError("the corpus leaks")

    monkeypatch.setattr(splits, "prepare", leaks)
    argv = ["classical", "-u", "fbank_no_cmvn", "--classifier", "logistic,svm,knn", "--corpus", "demo", "--data"]
    assert main([*argv, str(demo_root), "--device", "cpu", "--cache-root", str(tmp_path / "cache")]) == 2
    assert len(made) == 1
    said = capsys.readouterr().err
    assert said.count("the corpus leaks") == 1
    assert said.endswith("error: the corpus leaks\n")
