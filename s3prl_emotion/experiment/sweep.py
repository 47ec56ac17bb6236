"""Sweeps: upstreams x heads x seeds x learning rates, and layers one by one."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from s3prl_emotion.classical import classifier_of
from s3prl_emotion.errors import ConfigError, EmotionError, RunError
from s3prl_emotion.evaluation.runs import OfLayer, in_order
from s3prl_emotion.evaluation.summary import summarise_again
from s3prl_emotion.experiment.classical import count_layers
from s3prl_emotion.experiment.deviations import rate_tag
from s3prl_emotion.experiment.jobs import Job, run_jobs
from s3prl_emotion.experiment.request import DEFAULT_SEED, Request
from s3prl_emotion.files import write_atomically
from s3prl_emotion.protocols.integrity import MADE
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.prediction import Prediction
from s3prl_emotion.runs.results import Results, RunSettings, read_results

# Many runs over one store of hidden states: upstreams x heads x seeds x learning rates.
#
# The learning rate is chosen in each fold, and for each seed, by that fold's own dev figure: a rate chosen over all
# folds would have seen, in their dev sets, the speakers that other folds test on.

SUPERB_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""The learning rates that SUPERB allows to choose from (Yang et al., Interspeech 2021)."""


@dataclass(frozen=True)
class Grid:
    """What to run. Without learning rates each configuration keeps its own.

    Raises:
        ConfigError: if a list is empty or names something twice
    """

    upstreams: tuple[str, ...]
    downstreams: tuple[str, ...]
    seeds: tuple[int, ...] = (DEFAULT_SEED,)
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for flag, values in (("-u", self.upstreams), ("-d", self.downstreams), ("--seeds", self.seeds)):
            if not values:
                raise ConfigError(f"{flag}: expected at least one")
        for flag, values in (("-u", self.upstreams), ("-d", self.downstreams), ("--seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ConfigError(f"{flag} {','.join(map(str, values))}: something is named twice")
        if len(set(self.rates)) != len(self.rates) or any(not 0 < rate < math.inf for rate in self.rates):
            raise ConfigError(f"--lr: expected different numbers above 0, found {list(self.rates)}")


def sweep(request: Request, grid: Grid) -> list[Path]:
    """Run every point of a grid; finished ones are not run again.

    Several processes share the points; a point that fails does not stop the others.

    Args:
        request: what all points share; its upstream, downstream and seed are those of the grid
        grid: the points

    Returns:
        one run folder for each upstream, downstream and seed: where there are several learning rates, the one that
        holds the predictions of the chosen rates

    Raises:
        ConfigError, UpstreamError: at once, if a name or a setting is wrong
        RunError: at the end, naming the points that failed and why
    """
    for downstream in grid.downstreams:
        if grid.rates and classifier_of(downstream) is not None:
            raise ConfigError(f"--lr: -d {downstream} has no learning rate; leave it out, or run it by itself")
    rates: Sequence[float | None] = grid.rates or (None,)
    systems = {
        of: {rate or 0.0: _point(request, *of, rate) for rate in rates}
        for of in product(grid.upstreams, grid.downstreams, grid.seeds)
    }
    points = [point for by_rate in systems.values() for point in by_rate.values()]
    worked = run_jobs(points, strict=True)
    folders: list[Path] = []
    for by_rate in systems.values():
        done = {rate: worked.finished[point.key] for rate, point in by_rate.items() if point.key in worked.finished}
        if len(done) < len(by_rate):
            continue  # a rate chosen from the others would not be the best of those asked for
        try:
            folders.append(choose_rates(done) if len(done) > 1 else next(iter(done.values())))
        except (EmotionError, OSError) as error:
            worked.fail(next(iter(by_rate.values())), error)
    worked.raise_failures(len(points))
    return folders


def _point(request: Request, upstream: str, downstream: str, seed: int, rate: float | None) -> Job:
    name = f"{upstream} {downstream}" + ("" if rate is None else f" lr {rate:g}")
    return Job(name, at_point(request, upstream, downstream, seed, rate))


def at_point(request: Request, upstream: str, downstream: str, seed: int, rate: float | None = None) -> Request:
    """The request of one point."""
    overrides = [request.s3prl.get("override"), None if rate is None else f"config.optimizer.lr={rate!r}"]
    s3prl = {
        **request.s3prl,
        "upstream": upstream,
        "downstream": downstream,
        "seed": seed,
        "override": ",,".join(text for text in overrides if text) or None,
    }
    for key in ("expname", "expdir"):
        if request.s3prl.get(key):
            s3prl[key] = f"{request.s3prl[key]}-seed{seed}"
    return dataclasses.replace(request, s3prl=s3prl, tag=rate_tag(rate))


def choose_rates(candidates: dict[float, Path]) -> Path:
    """Put together the result of a point: from each fold the run whose learning rate is best on that fold's dev set.

    Of equal dev figures the larger rate wins.

    Args:
        candidates: the run folders, which differ in the learning rate alone, by rate

    Returns:
        a folder beside them with ``predictions.csv``, ``results.json``, ``folds.json`` and ``learning_rates.json``,
        which lists every dev figure

    Raises:
        RunError: if a run has not finished the folds that another has
    """
    records = {rate: read_results(RunFolder(folder).results) for rate, folder in candidates.items()}
    finished = {rate: list(record.numbers) for rate, record in records.items()}
    numbers = next(iter(finished.values()))
    for rate, done in finished.items():
        if done != numbers:
            raise RunError(f"{candidates[rate]}: has the folds {done}, others {numbers}: finish them first")
    first = RunFolder(next(iter(candidates.values())))
    manifest, folds = first.division()
    dev: dict[int, dict[float, float]] = {number: {} for number in numbers}
    rows: dict[tuple[int, float], list[Prediction]] = {}
    for rate, folder in candidates.items():
        run_folder = RunFolder(folder)
        about = run_folder.about()
        first.check_division(about.get(MADE), manifest, folds, str(run_folder.record))
        for number in numbers:
            fold = run_folder.fold(number)
            record = fold.finished(number, about, manifest, folds)
            dev[number][rate] = record["dev_score"]
            rows[number, rate] = fold.read_predictions(record, manifest.labels, folds[number].test)
    chosen = {number: max(scores, key=lambda rate: (scores[rate], rate)) for number, scores in dev.items()}
    predictions = [row for number, rate in chosen.items() for row in rows[number, rate]]
    return _write(candidates, records, chosen, dev, predictions)


def _write(
    candidates: dict[float, Path],
    records: dict[float, Results],
    chosen: dict[int, float],
    dev: dict[int, dict[float, float]],
    predictions: list[Prediction],
) -> Path:
    rate, source = next(iter(candidates.items()))
    old = records[rate]
    steps = {
        fold.fold: fold.step for key, record in records.items() for fold in record.folds if chosen[fold.fold] == key
    }
    spelled = ", ".join(f"{value:g}" for value in sorted(candidates))
    settings = old.settings or RunSettings()
    words = {"lr": f"chosen in each fold on its dev set from {spelled}"}
    settings = dataclasses.replace(settings, further={**settings.further, **words})
    results = summarise_again(old, predictions, old.labels, steps, settings)
    folder = RunFolder(source.with_name(source.name.replace(f"-lr{rate:g}", "-lrdev")))
    table = {
        "selection": old.protocol.selection,
        "dev": {str(number): {f"{key:g}": score for key, score in scores.items()} for number, scores in dev.items()},
        "chosen": {str(number): value for number, value in chosen.items()},
        "runs": {f"{key:g}": path.name for key, path in candidates.items()},
    }
    write_atomically(folder.folds, RunFolder(source).folds.read_text(encoding="utf-8"))
    write_atomically(folder.rates, json.dumps(table, indent=1) + "\n")
    folder.write_scores(results, predictions)
    return folder.path


def layer_by_layer(request: Request, grid: Grid) -> list[OfLayer]:
    """Fit and score a grid of classical models on each layer of their upstreams; what is finished is not done again.

    Args:
        request: what all share
        grid: upstreams, classifiers and seeds

    Returns:
        by upstream, classifier and seed, then layer

    Raises:
        EmotionError: as :func:`~s3prl_emotion.experiment.sweep.sweep`
    """
    layers = {}
    for upstream in grid.upstreams:
        count = count_layers(at_point(request, upstream, grid.downstreams[0], grid.seeds[0]))
        for layer, downstream, seed in product(range(count), grid.downstreams, grid.seeds):
            choice = dataclasses.replace(request.classical, layers=str(layer))
            point = at_point(dataclasses.replace(request, classical=choice), upstream, downstream, seed)
            layers[Job(f"{upstream} {downstream} layer {layer}", point).key] = layer, point
    points = [Job(name, point) for (name, _), (_, point) in layers.items()]
    worked = run_jobs(points, strict=True)
    worked.raise_failures(len(points))
    return in_order(
        [
            OfLayer(layers[key][0], folder, read_results(RunFolder(folder).results))
            for key, folder in worked.finished.items()
        ]
    )
