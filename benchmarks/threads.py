"""Two trainings at once on the cores of one: how long they take under different settings of OpenMP's threads.

    python benchmarks/threads.py [--steps 60] [--repeat 3]

Folds and the points of a sweep may run at the same time, each in its own process. Every process starts as many
threads as there are cores, and a thread that waits for others of its own process spins, which takes the core from the
other process. For each setting this prints the wall-clock seconds of the whole command, alone and with a second
one beside it: ``run -u fbank -d emotion_attn_corr --demo`` on one fold each, hidden states stored before. The least of
the repetitions counts, since other work on the machine only adds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from s3prl_emotion.cli import SPIN_COUNT

NAMES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SETTINGS: dict[str, dict[str, str]] = {
    "as libgomp does (300000 spins)": {"GOMP_SPINCOUNT": "300000"},
    "waits never spin": {"OMP_WAIT_POLICY": "PASSIVE"},
    "100 spins": {"GOMP_SPINCOUNT": "100"},
    "300 spins": {"GOMP_SPINCOUNT": "300"},
    "3000 spins": {"GOMP_SPINCOUNT": "3000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    f"our default ({SPIN_COUNT} spins)": {},
}


def command(root: Path, name: str, fold: int, steps: int) -> list[str]:
    every = "".join(f",,config.runner.{key}={steps}" for key in ("eval_step", "save_step", "log_step"))
    return [
        *(sys.executable, "-m", "s3prl_emotion", "run", "-u", "fbank", "-d", "emotion_attn_corr"),
        *("--corpus", "demo", "--data", str(root / "corpus"), "--device", "cpu", "--fold", str(fold)),
        *("--cache-root", str(root / "cache"), "-p", str(root / name)),
        *("-o", f"config.runner.total_steps={steps}{every}"),
    ]


def seconds(root: Path, label: str, folds: tuple[int, ...], steps: int, setting: dict[str, str]) -> float:
    """Wall-clock seconds until one process for each fold, all started at once, has ended."""
    environment = {key: value for key, value in os.environ.items() if key not in NAMES} | setting
    start = time.perf_counter()
    processes = [
        subprocess.Popen(
            command(root, f"{label}-{fold}", fold, steps),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fold in folds
    ]
    failed = [process.args for process in processes if process.wait() != 0]
    if failed:
        raise SystemExit(f"failed: {failed[0]}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    from s3prl_emotion.corpora.demo import make_demo_corpus

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_demo_corpus(root / "corpus")
        seconds(root, "warm", (1,), 1, {})  # stores the hidden states, and compiles what Python compiles
        print(f"{os.cpu_count()} cores, {args.steps} steps, least of {args.repeat}")
        print(f"{'setting':32} {'alone':>8} {'two at once':>12} {'ratio':>6}")
        best = {name: [float("inf"), float("inf")] for name in SETTINGS}
        for turn in range(args.repeat):  # settings take turns, so that a busy minute does not hit one alone
            for place, (name, setting) in enumerate(SETTINGS.items()):
                label = f"{turn}-{place}"
                alone = seconds(root, f"alone-{label}", (1,), args.steps, setting)
                both = seconds(root, f"both-{label}", (1, 2), args.steps, setting)
                best[name] = [min(best[name][0], alone), min(best[name][1], both)]
        for name, (alone, both) in best.items():
            print(f"{name:32} {alone:7.1f}s {both:11.1f}s {both / alone:6.2f}")


if __name__ == "__main__":
    main()
