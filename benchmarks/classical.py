"""Time and memory of extracting engineered features, and of a classical model on what is stored, as corpora grow.

    python benchmarks/classical.py [--sizes 1250,2500,5000,10000] [-u librosa94] [--classifier logistic]

For each size a table of short utterances (a tone in noise, 0.3 to 0.5 s, 20 speakers, four classes) is made; then
``classical`` runs twice in processes of their own: with nothing stored, and with everything stored but no fold fitted.
Printed are processor seconds, seconds and the peak of memory, and from size to size the exponent by which processor
seconds grow: 1 is linear. Start-up, about ten seconds, makes it less for small sizes.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

LABELS = ("a", "b", "c", "d")
SPEAKERS = 20


@dataclass(frozen=True)
class Cost:
    """Of one process."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def make_corpus(folder: Path, count: int) -> Path:
    """A table of ``count`` utterances."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = ["path,label,speaker"]
    for index in range(count):
        label, speaker = index % len(LABELS), index // len(LABELS) % SPEAKERS
        seconds = np.arange(int(rng.integers(4800, 8000))) / 16000
        tone = np.sin(2 * np.pi * (100 + 10 * speaker + 40 * label) * seconds)
        soundfile.write(folder / f"{index}.wav", 0.2 * tone + 0.1 * rng.standard_normal(len(seconds)), 16000)
        rows.append(f"{index}.wav,{LABELS[label]},s{speaker}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "table.csv"


def cost(root: Path, table: Path, upstream: str, classifier: str) -> Cost:
    """Of one ``classical`` on everything of a table."""
    words = ["classical", "-u", upstream, "--classifier", classifier, "--corpus", "table", "--data", str(table)]
    words += [
        "--protocol",
        "strict",
        "--device",
        "cpu",
        "--root",
        str(root / "runs"),
        "--cache-root",
        str(root / "cache"),
    ]
    start = time.perf_counter()
    with (root / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "s3prl_emotion", *words], stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((root / "log").read_text())
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="1250,2500,5000,10000")
    parser.add_argument("-u", "--upstream", default="librosa94")
    parser.add_argument("--classifier", default="logistic")
    args = parser.parse_args()
    print(f"{args.upstream}, {args.classifier}: processor seconds (seconds), peak MB, exponent of processor seconds")
    print(f"{'utterances':>10}  {'nothing stored':>32}  {'all stored':>32}")
    before: tuple[int, list[Cost]] | None = None
    for size in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            table = make_corpus(root / "corpus", size)
            costs = [cost(root, table, args.upstream, args.classifier)]
            shutil.rmtree(root / "runs")
            costs.append(cost(root, table, args.upstream, args.classifier))
        cells = []
        for place, now in enumerate(costs):
            grows = ""
            if before is not None:
                grows = f"{math.log(now.cpu_s / before[1][place].cpu_s) / math.log(size / before[0]):5.2f}"
            cells.append(f"{now.cpu_s:8.1f} ({now.wall_s:6.1f}) {now.peak_mb:6.0f} MB {grows:>5}")
        print(f"{size:>10}  " + "  ".join(f"{cell:>32}" for cell in cells), flush=True)
        before = size, costs


if __name__ == "__main__":
    main()
