"""A whole run on a table of speakers of whom most have only some of the classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import balanced_accuracy_score

from s3prl_emotion.cli import main
from s3prl_emotion.runs.prediction import read_predictions

SHORT = "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=2,,config.runner.log_step=2"


def _table(folder: Path, speakers_of: dict[str, tuple[int, ...]]) -> Path:
    """Noise, louder by the class, in a table without folds."""
    rng = np.random.default_rng(0)
    lines = ["path,label,speaker"]
    for number, (label, speakers) in enumerate(speakers_of.items(), start=1):
        for speaker in speakers:
            for take in range(2):
                name = f"{label}{speaker}-{take}.wav"
                soundfile.write(folder / name, 0.05 * number * rng.standard_normal(4000), 16000)
                lines.append(f"{name},{label},s{speaker}")
    path = folder / "calls.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("sad", [(1, 2), (0, 1, 2, 3, 4)])
def test_the_headline_is_over_what_every_fold_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sad: tuple[int, ...]
) -> None:
    data = _table(tmp_path, {"angry": tuple(range(10)), "sad": sad})
    argv = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "table", "--data", str(data), "-o", SHORT]
    assert main([*argv, "--device", "cpu", "-p", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    rows, labels = read_predictions(tmp_path / "run" / "predictions.csv")
    pooled = balanced_accuracy_score([row.truth for row in rows], [row.predicted for row in rows])
    assert results["pooled"]["ua"]["value"] == pytest.approx(pooled)
    flat = printed.out.replace("\n  ", " ")
    assert "corpus table_calls |" in flat
    assert "Confusion matrix, " in flat  # with recalls, on the terminal
    assert all(f"\n{label} " in flat for label in labels)
    complete = len(sad) == 5
    assert (results["headline"]["of"] == "mean") is complete
    assert ("lacking" not in results["protocol"]) is complete
    assert ("headline: UA " in flat) is not complete
    assert ("over the pooled predictions, not the mean over folds" in flat) is not complete
    assert ("division: dev has no sad in folds " in flat) is not complete
    assert ("tests on 4 utterances only, none of them sad" in printed.err) is not complete
    lacking = json.loads((tmp_path / "run" / "folds.json").read_text()).get("lacking", [])
    assert sorted(item["part"] for item in lacking) == ([] if complete else ["dev"] * 3 + ["test"] * 3)
    log = (tmp_path / "run" / "fold1" / "log.log").read_text()
    assert "step 0" not in log
    assert sum(line.startswith("test: loss ") for line in log.splitlines()) == 1
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert "Confusion matrix, " in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results
