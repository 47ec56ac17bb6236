"""Time and memory of sampling pairs, against the number of speakers.

    python benchmarks/contrastive.py [--utterances 5]

For 1,000 to 30,000 speakers with two clusters each: what gives pairs is found, a part is held out, an epoch of batches
is drawn, and their pairs are named. Every size runs in a process of its own, whose peak of resident memory is told
beside that of the imports alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np
import torch

from s3prl_emotion.pretraining.contrastive.sampler import Sampler, pairs_of, split_dev, usable
from s3prl_emotion.pretraining.contrastive.settings import DevSettings

SPEAKERS = (0, 1000, 3000, 10000, 30000)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(count: int, utterances: int) -> tuple[list[float], float, int]:
    """Seconds of each part, MB at the peak, and batches of an epoch."""
    rng = np.random.default_rng(0)
    speakers = [f"speaker{number}" for number in range(count) for _ in range(utterances)]
    clusters = [int(item) for item in rng.integers(2, size=len(speakers))]
    if not count:
        return [0.0] * 4, peak_mb(), 0
    times = [time.perf_counter()]
    groups = usable(speakers, clusters)
    times.append(time.perf_counter())
    train, _ = split_dev(groups, DevSettings("speakers", 0.1), 0)
    times.append(time.perf_counter())
    sampler = Sampler(train, 8, 2, 4, 1, 0)
    batches = sampler.epoch(0)
    times.append(time.perf_counter())
    numbers = {name: number for number, name in enumerate(groups)}
    who, which = torch.tensor([numbers.get(name, -1) for name in speakers]), torch.tensor(clusters)
    for batch in batches:
        pairs_of(who[batch], which[batch])
    times.append(time.perf_counter())
    return np.diff(times).tolist(), peak_mb(), len(batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=5, help="of each speaker")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print("speakers  find pairs  hold out  an epoch  its pairs  batches  above imports")
    bare = 0.0
    for count in SPEAKERS:
        with context.Pool(1) as pool:
            (find, hold, epoch, pairs), peak, batches = pool.apply(measured, (count, args.utterances))
        bare = bare or peak
        seconds = f"{find:8.2f} s  {hold:6.2f} s  {epoch:6.2f} s  {pairs:7.2f} s"
        print(f"{count:8d}  {seconds}  {batches:7d}  {peak - bare:8.1f} MB")


if __name__ == "__main__":
    main()
