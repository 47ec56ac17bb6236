"""Many runs over one store of hidden states: upstreams x heads x seeds x learning rates.

The learning rate is chosen in each fold, and for each seed, by that fold's own dev figure: a rate chosen over all folds
would have seen, in their dev sets, the speakers that other folds test on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from s3prl_emotion.classical import classifier_of
from s3prl_emotion.errors import ConfigError, RunError, reason_of
from s3prl_emotion.evaluation.summary import summarise_again
from s3prl_emotion.experiment.classical import Statistics
from s3prl_emotion.experiment.division import Prepared, check_prepared
from s3prl_emotion.experiment.request import DEFAULT_SEED, Request
from s3prl_emotion.experiment.run import check, run
from s3prl_emotion.files import write_atomically
from s3prl_emotion.protocols.seal import MADE
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.prediction import Prediction, write_predictions
from s3prl_emotion.runs.results import Results, Settings, read_results, write_results

logger = logging.getLogger(__name__)

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
        if len(set(self.rates)) != len(self.rates) or any(not rate > 0 for rate in self.rates):
            raise ConfigError(f"--lr: expected different numbers above 0, found {list(self.rates)}")


def sweep(
    request: Request, grid: Grid, prepared: Prepared | None = None, statistics: Statistics | None = None
) -> list[Path]:
    """Run every point of a grid; finished ones are not run again.

    A point that fails does not stop the others.

    Args:
        request: what all points share; its upstream, downstream and seed are those of the grid
        grid: the points
        prepared: see :func:`s3prl_emotion.experiment.run.run`, where several sweeps share it
        statistics: likewise

    Returns:
        one run folder for each upstream, downstream and seed: where there are several learning rates, the one that
        holds the predictions of the chosen rates

    Raises:
        ConfigError, UpstreamError: at once, if a name or a setting is wrong
        CorpusError, ProtocolError: likewise, if the corpus cannot be used or divided, or its division leaks
        RunError: at the end, naming the points that failed and why
    """
    for upstream, downstream in product(grid.upstreams, grid.downstreams):  # before anything is trained
        if grid.rates and classifier_of(downstream) is not None:
            raise ConfigError(f"--lr: -d {downstream} has no learning rate; leave it out, or run it by itself")
        check(at_point(request, upstream, downstream, grid.seeds[0], None))
    prepared = {} if prepared is None else prepared
    statistics = {} if statistics is None else statistics
    folders: list[Path] = []
    failed: list[str] = []
    points = list(product(grid.upstreams, grid.downstreams, grid.seeds))
    rates: Sequence[float | None] = grid.rates or (None,)
    for count, (upstream, downstream, seed) in enumerate(points):
        candidates: dict[float, Path] = {}
        name = f"{upstream} {downstream} seed {seed}"
        for place, rate in enumerate(rates, start=1):
            told = "" if rate is None else f" lr {rate:g}"
            logger.info("run %d of %d: %s%s", count * len(rates) + place, len(points) * len(rates), name, told)
            with noted(f"{name}{told}", failed, prepared):
                folder, _ = run(at_point(request, upstream, downstream, seed, rate), prepared, statistics)
                candidates[rate or 0.0] = folder
        if len(candidates) < len(rates):
            continue  # a rate chosen from the others would not be the best of those asked for
        if len(rates) == 1:
            folders += candidates.values()
        else:
            with noted(name, failed):
                folders.append(choose_rates(candidates))
    if failed:
        listed = "\n".join(f"  {text}" for text in failed)
        raise RunError(
            f"{len(failed)} of {len(points) * len(rates)} points failed; the others are kept, and the same command "
            "tries again:\n"
            f"{listed}"
        )
    return folders


@contextlib.contextmanager
def noted(name: str, failed: list[str], prepared: Prepared | None = None) -> Iterator[None]:
    """Write down what fails, whatever it is, and go on.

    Raises:
        EmotionError: if what all points share is refused
    """
    try:
        yield
    except Exception as error:  # by whatever fault one point fails, the others go on
        check_prepared(prepared or {})
        reason = reason_of(error)
        logger.error("%s: %s", name, reason)
        logger.debug("%s", name, exc_info=True)
        failed.append(f"{name}: {reason}")


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
    return dataclasses.replace(request, s3prl=s3prl, tag="" if rate is None else f"lr{rate:g}")


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
    settings = old.settings or Settings()
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
    write_predictions(folder.predictions, predictions, old.labels)
    write_atomically(folder.folds, RunFolder(source).folds.read_text(encoding="utf-8"))
    write_atomically(folder.rates, json.dumps(table, indent=1) + "\n")
    write_results(folder.results, results)
    return folder.path
