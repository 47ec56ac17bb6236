"""Run folders as ``run`` leaves them, without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.evaluation import summarise
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.runs.prediction import Prediction, write_predictions
from s3prl_emotion.runs.results import write_results

LABELS = ("neutral", "happy", "angry", "sad")


def make_run(
    folder: Path,
    accuracy: float = 0.6,
    seed: int = 1337,
    *,
    labels: tuple[str, ...] = LABELS,
    folds: tuple[int, ...] = (1, 2, 3, 4, 5),
    protocol: dict[str, Any] | None = None,
    train: int | None = 80,
    rng: int | None = None,
    per_speaker: int = 8,
    backwards: bool = False,
    entangled: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """Write a run of five folds with two speakers each, about ``accuracy`` of which is right.

    ``train`` is the size of the training sets in ``folds.json``; None leaves that file out. ``backwards`` turns the
    order of rows round; ``entangled`` leaves folds 4 and 5 with one class, which is easy there.
    """
    draw = np.random.default_rng(seed if rng is None else rng)
    predictions = []
    for fold in folds:
        for number in range(2 * per_speaker):
            known = labels[:1] if entangled and fold > 3 else labels
            truth = known[number % len(known)]
            wrong = labels[(labels.index(truth) + 1) % len(labels)]
            right = draw.random() < (0.95 if len(known) == 1 else accuracy)
            rest = 0.3 / (len(labels) - 1)
            guess = truth if right else wrong
            probabilities = tuple(0.7 if label == guess else rest for label in labels)
            speaker = f"{fold}{'FM'[number // per_speaker]}"
            predictions.append(Prediction(fold, f"{speaker}_{number:02}", speaker, truth, guess, probabilities))
    if backwards:
        predictions.reverse()
    about = {
        "name": "superb",
        "sha256": "cd" * 32,
        "split_sha256": "ab" * 32,
        "dev": "random",
        "selection": "dev accuracy",
        "transductive": False,
        **(protocol or {}),
    }
    arguments: dict[str, Any] = {
        "upstream": "hubert",
        "checkpoint_sha256": None,
        "downstream": "emotion_mean",
        "corpus": "iemocap",
        "protocol": about,
        "steps": dict.fromkeys(folds, 100),
        "folds_expected": range(1, 6),
        "seed": seed,
        "versions": {},
        "settings": {"demo": False, "deviations": []},
    }
    results = summarise(predictions, labels, **{**arguments, **changes})
    write_predictions(folder / "predictions.csv", predictions, labels)
    write_results(folder / "results.json", results)
    if train is not None:
        trained = [f"t{i}" for i in range(train)]
        tested = {fold: [item.utterance for item in predictions if item.fold == fold] for fold in folds}
        content = [{"number": fold, "train": trained, "test": tested.get(fold, [])} for fold in range(1, 6)]
        (folder / "folds.json").write_text(json.dumps({"sha256": about["split_sha256"], "folds": content}))
    return to_mapping(results)
