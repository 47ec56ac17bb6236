"""How time and memory of clustering within speakers grow: random vectors, 5 utterances of each of 10,000 speakers.

    python benchmarks/clusters.py [--speakers 1250,2500,5000,10000] [--utterances 5]

Each size is measured in a process of its own: the seconds of clustering, of writing and of reading back, and the
memory that this process needs beyond its vectors and its imports.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH = 256


def measure(speakers: int, utterances: int, options: str) -> str:
    """One line of the table."""
    from s3prl_emotion.corpora import Manifest, Utterance
    from s3prl_emotion.pretraining.contrastive import clusters
    from s3prl_emotion.pretraining.contrastive.clustering import cluster, summary
    from s3prl_emotion.pretraining.contrastive.clusters import Clustered
    from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings
    from s3prl_emotion.pretraining.settings import read_settings

    settings = read_settings(ContrastiveSettings, "contrastive", None, options or None).cluster
    items = tuple(
        Utterance(f"x/{speaker}-{number}", f"/{speaker}-{number}.wav", "unlabelled", f"x:{speaker}", corpus="x")
        for speaker in range(speakers)
        for number in range(utterances)
    )
    speech = Manifest("x", ("unlabelled",), "/", items)
    vectors = np.random.default_rng(0).standard_normal((len(items), WIDTH), dtype=np.float32)
    few = speech.with_utterances(items[: 2 * utterances])
    cluster(vectors, few, settings, 0)  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    found = cluster(vectors, speech, settings, 0)
    clustered = time.perf_counter() - begun
    numbers = {
        speech.utterances[index].id: int(number)
        for _, members, groups in found
        for index, number in zip(members, groups.usable, strict=True)
    }
    rows = [Clustered.of(item, None if numbers[item.id] < 0 else numbers[item.id]) for item in items]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        clusters.write(Path(folder), rows, summary(found))
        written = time.perf_counter() - begun
        begun = time.perf_counter()
        clusters.read(Path(folder), speech)
        read = time.perf_counter() - begun
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    used = summary(found)["used"]
    each = 1000 * clustered / speakers
    return f"{speakers:>8}  {used:>6}  {clustered:>9.1f}  {each:>10.2f}  {written:>7.2f}  {read:>6.2f}  {more:>9.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speakers", default="1250,2500,5000,10000")
    parser.add_argument("--utterances", type=int, default=5)
    parser.add_argument("-o", "--override", default="", help="as of `pretrain contrastive`")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(measure(args.one, args.utterances, args.override))
        return
    print("speakers    used  cluster s  ms/speaker  write s  read s  memory MB", flush=True)
    for count in args.speakers.split(","):
        command = [sys.executable, __file__, "--one", count, "--utterances", str(args.utterances)]
        subprocess.run([*command, "-o", args.override], check=True)


if __name__ == "__main__":
    main()
