"""Time and memory of `prepare --balance`: do they grow linearly with the number of copies?

    python benchmarks/balance.py                          # 1000, 2500, 5000 and 10000 copies of clips of 0.3 s
    python benchmarks/balance.py --counts 100,200 --seconds 2

Synthetic clips in a table: four classes, ten speakers, protocol strict. Each size runs in a process of its own, after a
small one that loads the libraries. Times are of the processor, so that other programs do not count; the second is that
of the same command again, which finds every copy there. Memory is the peak of what is resident.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from s3prl_emotion.cli import main as command

LABELS = ("neu", "hap", "ang", "sad")
RATE = 16_000
WARM_UP = 100


def make_table(folder: Path, count: int, seconds: float) -> Path:
    """A table of ``count`` clips of noise with a pitch."""
    rng = np.random.default_rng(0)
    times = np.arange(round(seconds * RATE)) / RATE
    rows = ["path,label,speaker"]
    for number in range(count):
        samples = 0.1 * np.sin(2 * np.pi * (100 + number % 200) * times) + 0.01 * rng.standard_normal(len(times))
        soundfile.write(folder / f"{number}.wav", samples, RATE)
        rows.append(f"{number}.wav,{LABELS[number % 4]},s{number // 4 % 10}")
    path = folder / "clips.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def measure(count: int, seconds: float, found: multiprocessing.Queue[tuple[int, float, float, float]]) -> None:
    """Some ``count`` copies of a quarter as many clips, and again; puts copies, seconds twice, and MiB."""
    if count > WARM_UP:
        measure(WARM_UP, seconds, multiprocessing.get_context("spawn").Queue())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = max(40, count // 4)
        data = make_table(folder, clips, seconds)
        wanted = (clips * 3 // 5 + count * 3 // 5) // 4  # three of five folds train
        argv = ["prepare", "--corpus", "table", "--data", str(data), "--balance", str(wanted)]
        argv += ["--audio-root", str(folder / "audio")]
        times = []
        for out in ("one", "two"):
            begun = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                if command([*argv, "--out", str(folder / out)]) != 0:
                    sys.exit("prepare failed")
            times.append(time.process_time() - begun)
        copies = sum(1 for _ in (folder / "audio").rglob("*.flac"))
        found.put((copies, *times, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1000,2500,5000,10000", help="numbers of copies, with commas")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a clip")
    args = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, clips of {args.seconds:g} s")
    print(f"{'copies':>7} {'CPU s':>8} {'ms/copy':>8} {'again s':>8} {'MiB':>7}")
    context = multiprocessing.get_context("spawn")
    for count in map(int, args.counts.split(",")):
        found = context.Queue()
        process = context.Process(target=measure, args=(count, args.seconds, found))
        process.start()
        process.join()
        if process.exitcode != 0:
            sys.exit(f"{count} copies: exit status {process.exitcode}")
        copies, first, again, memory = found.get()
        print(f"{copies:>7} {first:>8.1f} {1000 * first / copies:>8.2f} {again:>8.1f} {memory:>7.0f}", flush=True)


if __name__ == "__main__":
    main()
