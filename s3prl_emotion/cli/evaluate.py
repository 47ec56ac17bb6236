"""``s3prl-emotion evaluate``."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from s3prl_emotion.audio.conditions import LEVELS
from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.output import check_out, write_or_print
from s3prl_emotion.cli.predict import add_head_arguments
from s3prl_emotion.cli.run import print_results
from s3prl_emotion.cli.run_options import corpus_options
from s3prl_emotion.errors import ConfigError, RunError

if TYPE_CHECKING:
    from s3prl_emotion.evaluation.runs import Run
    from s3prl_emotion.inference.trained import EmotionRecogniser
    from s3prl_emotion.runs.prediction import Prediction

_NEGATIVE = re.compile(r"^-\d[-\d.,]*$")
"""To argparse a value that begins so is an option, unless it is a number: here also numbers with commas, -20,-10."""
HELP = {
    "snr": "signal-to-noise ratios in dB",
    "gain": "gains in dB",
    "rt60": "reverberation times in seconds",
    "semitones": "shifts of pitch",
    "rate": "speeds; above 1 is faster",
}


def add_robustness_arguments(parser: argparse.ArgumentParser) -> None:
    parser._negative_number_matcher = _NEGATIVE
    group = parser.add_argument_group("on disturbed audio")
    group.add_argument(
        "--with",
        "--disturb",
        dest="disturb",
        metavar="EFFECT,...",
        help="score the test folds again with the run's checkpoints, on copies of the audio with noise, telephone, "
        "gain, reverberation, pitch_shift or time_stretch; predictions are kept in the run's folder robustness/",
    )
    for effect, (option, _, usual) in LEVELS.items():
        levels = ",".join(f"{level:g}" for level in usual)
        group.add_argument(f"--{option}", metavar="A,B", help=f"of {effect}: {HELP[option]} (default: {levels})")
    group.add_argument(
        "--effect-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a further option of the effect, such as folder=DIR with recordings of noise; may be repeated",
    )
    group.add_argument("--data", type=Path, metavar="DIR", help="where the corpus is now, if it was moved")
    group.add_argument("--disturbance-seed", type=int, metavar="N", help="of what is drawn (default: 0)")
    add_head_arguments(group)


def check_not_given(args: argparse.Namespace) -> None:
    """Refuse options that nothing but ``--with`` reads.

    Raises:
        ConfigError: naming one
    """
    own = [option for option, _, _ in LEVELS.values()]
    own += [
        "data",
        "effect_option",
        "disturbance_seed",
        "fold",
        "upstream",
        "upstream_ckpt",
        "upstream_model_config",
        "device",
    ]
    for option in [*own, "trust_checkpoint"]:
        if getattr(args, option) not in (None, [], False):
            raise ConfigError(f"--{option.replace('_', '-')} is of --with EFFECT: give both, or neither")


def robustness(args: argparse.Namespace, form: str) -> str:
    """The report of ``--with``; runs that differ in the seed are one system.

    Raises:
        ConfigError: if an effect, level or option is wrong
        RunError: if a run cannot be scored again
    """
    from s3prl_emotion.audio.conditions import conditions

    names = [name.strip() for name in args.disturb.split(",")]
    if not all(names):
        raise ConfigError(f"--with {args.disturb!r}: expected names of effects with commas, such as noise,telephone")
    levels = {option: _numbers(option, getattr(args, option)) for option, _, _ in LEVELS.values()}
    wanted = conditions(names, levels, _options(args.effect_option))
    seed = args.disturbance_seed or 0
    from s3prl_emotion.evaluation.conditions import side_by_side
    from s3prl_emotion.evaluation.runs import find_runs, read_run
    from s3prl_emotion.evaluation.seed_groups import group
    from s3prl_emotion.inference.robustness import score
    from s3prl_emotion.reporting.breakdowns import Robustness, robustness_csv, robustness_text

    def load(folder: Path, number: int) -> EmotionRecogniser:
        from s3prl_emotion.inference.trained import EmotionRecogniser

        return EmotionRecogniser.load(
            folder,
            fold=number,
            device=args.device,
            upstream=args.upstream,
            checkpoint=args.upstream_ckpt,
            model_config=args.upstream_model_config,
            trust_checkpoint=args.trust_checkpoint,
        )

    found = []
    for system in group([read_run(folder) for folder in find_runs(args.runs)[0]]):
        folds = _folds(args.fold, system.runs[0])
        by_run = [score(run, wanted, load, seed, folds, args.data) for run in system.runs]
        titles = [condition.title for condition in wanted]
        scored = {title: [run[place].predictions for run in by_run] for place, title in enumerate(titles)}
        rows = side_by_side(scored, system.results.labels, system.results.is_pooled)
        remarks = _of_the_record(system.runs, scored[titles[0]])
        silent = sorted({name for run in by_run for condition in run for name in condition.silent})
        if silent:
            remarks.append(f"silent, so left as they are: {', '.join(silent[:5])}{', ...' if len(silent) > 5 else ''}")
        found.append(Robustness(system, folds, tuple(rows), seed, tuple(remarks)))
    return robustness_csv(found) if form == "csv" else robustness_text(found, markdown=form == "markdown")


def _folds(given: str | None, run: Run) -> tuple[int, ...]:
    numbers = run.results.numbers
    if given in (None, "all"):
        return numbers
    if given not in map(str, numbers):
        raise RunError(f"--fold {given}: {run.folder} has the finished folds {', '.join(map(str, numbers))}")
    return (int(str(given)),)


def _of_the_record(runs: Sequence[Run], undisturbed: Sequence[Sequence[Prediction]]) -> list[str]:
    """Whether the undisturbed audio gives what the run's record holds."""
    total = differing = 0
    for run, rows in zip(runs, undisturbed, strict=True):
        record = {(item.fold, item.utterance): item.predicted for item in run.predictions}
        total += len(rows)
        differing += sum(record[item.fold, item.utterance] != item.predicted for item in rows)
    if not differing:
        return [f"undisturbed: the record's class for each of {total} utterances"]
    return [
        f"undisturbed: another class than the record's for {differing} of {total} utterances, which were tested there "
        "in padded batches, or on states stored in a shorter form; differences are from what is in the table"
    ]


def _options(pairs: list[str]) -> dict[str, str | float]:
    """Options of the effect; what reads as a number is one."""
    options: dict[str, str | float] = {}
    for key, value in corpus_options(pairs, "--effect-option").items():
        try:
            options[key] = int(value) if value.isdecimal() else float(value)
        except ValueError:
            options[key] = value
    return options


def _numbers(option: str, given: str | None) -> tuple[float, ...] | None:
    """The levels of an option.

    Raises:
        ConfigError: if one is no number, or there twice
    """
    if given is None:
        return None
    try:
        levels = tuple(float(part) for part in given.split(","))
    except ValueError:
        levels = ()
    if not levels or any(math.isnan(level) for level in levels) or len(set(levels)) < len(levels):
        raise ConfigError(f"--{option} {given!r}: expected different numbers with commas, such as 20,10")
    return levels


FORMATS = ("table", "csv", "markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a folder with predictions.csv and results.json; for --by and --with also one that holds several",
    )
    parser.add_argument(
        "--by",
        metavar="A,B",
        help="n, UA and WA of each group of utterances with the same label, speaker, fold, session, corpus, text, or "
        "attribute of the corpus (sex, intensity, ...), and the largest gap; nothing is written into the run",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="of --by: what the corpus tells, from a manifest that `prepare` made of the same corpus",
    )
    add_robustness_arguments(parser)
    parser.add_argument("--format", choices=FORMATS, help="of --by and --with (default: table)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of --by and --with: write to a file, do not print")


def main(args: argparse.Namespace) -> int:
    """Rewrite ``results.json`` and print the table; or print tables of groups, or of conditions."""
    set_up_logging(args.verbose)
    if args.by is not None and args.disturb is not None:
        raise ConfigError("--by and --with are two evaluations: give one at a time")
    if args.by is None and args.manifest is not None:
        raise ConfigError("--manifest is of --by NAME: give both, or neither")
    if args.disturb is None:
        check_not_given(args)
    if args.by is not None or args.disturb is not None:
        check_out(args.out)
        form = args.format or "table"
        write_or_print(_by(args, form) if args.by is not None else robustness(args, form), args.out)
        return 0
    for option in ("format", "out"):
        if getattr(args, option) is not None:
            raise ConfigError(f"--{option} is of --by and --with; without them results.json and its table are written")
    from s3prl_emotion.evaluation.runs import recompute

    for run in args.runs:
        print_results(run, recompute(run))
    return 0


def _by(args: argparse.Namespace, form: str) -> str:
    """Runs that differ in the seed are one system; each system and name has a table.

    Raises:
        RunError: if a run is malformed, or its corpus does not tell one of the names
    """
    names = [name.strip() for name in args.by.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"--by {args.by!r}: expected different names with commas, such as sex,speaker")
    from s3prl_emotion.evaluation.groups import group_by
    from s3prl_emotion.evaluation.runs import find_runs, read_run
    from s3prl_emotion.evaluation.seed_groups import group
    from s3prl_emotion.reporting.breakdowns import groupings_csv, groupings_text

    folders, _ = find_runs(args.runs)
    systems = group([read_run(folder) for folder in folders])
    groupings = [group_by(system, name, args.manifest) for system in systems for name in names]
    return groupings_csv(groupings) if form == "csv" else groupings_text(groupings, markdown=form == "markdown")
