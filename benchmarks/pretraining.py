"""Throughput of masked-prediction training, and the memory of clustering.

    python benchmarks/pretraining.py --only throughput [--size small|base] [--device cuda --precision bf16]
    python benchmarks/pretraining.py --only growth
    python benchmarks/pretraining.py --only clustering [--frames 1300000 --width 768]

``throughput`` runs steps of the training loop beside a bare forward and backward of the same model on the same batches,
in turns, and prints audio seconds per second and the ratio. ``growth`` times the planning of batches against the size
of the corpus. ``clustering`` fits and labels frames of noise and prints the peak of resident memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import HubertConfig, HubertModel

from s3prl_emotion.pretraining import clustering
from s3prl_emotion.pretraining.batches import Batches, Clip
from s3prl_emotion.pretraining.frames import Framing
from s3prl_emotion.pretraining.loop import Loop
from s3prl_emotion.pretraining.masked import MaskedTask
from s3prl_emotion.pretraining.objective import MaskedPrediction, MaskSettings
from s3prl_emotion.pretraining.settings import BatchSettings, KMeansSettings, MaskedPredictionConfig
from s3prl_emotion.pretraining.states import FrameFile
from s3prl_emotion.pretraining.trainer_state import make_accelerator

SIZES = {
    "small": {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "conv_dim": (128,) * 7,
    },
    "base": {},
}


def clips(count: int, mean_s: float, classes: int) -> list[Clip]:
    rng = np.random.default_rng(0)
    framing = Framing()
    found = []
    for number in range(count):
        samples = int(16000 * np.clip(rng.gamma(3.0, mean_s / 3), 1.0, 15.6))
        labels = rng.integers(classes, size=framing.frames(samples)).astype(np.int32)

        def read(samples: int = samples, number: int = number) -> np.ndarray:
            return np.random.default_rng(number).standard_normal(samples).astype(np.float32)

        found.append(Clip(str(number), samples, labels, read))
    return found


def throughput(args: argparse.Namespace) -> None:
    on_gpu = args.device != "cpu"
    seconds = 87.5 if on_gpu else 16.0
    batch = BatchSettings(seconds=2 * seconds, part_seconds=seconds, min_s=1.0, max_s=15.6 if on_gpu else 8.0)
    training = MaskedPredictionConfig(
        steps=20000, batch=batch, eval_every=10**6, save_every=10**6, precision=args.precision
    )
    torch.manual_seed(0)
    hubert = HubertModel(HubertConfig(**SIZES[args.size], layerdrop=0.0))
    model = MaskedPrediction(hubert, 50, 256, 0.1, True, torch.Generator().manual_seed(0))
    given = clips(64 if not on_gpu else 512, 4.5, 50)
    with tempfile.TemporaryDirectory() as folder:
        batches = Batches(given, batch, MaskSettings(), Framing(), 0)
        accelerator = make_accelerator(args.precision, args.device)
        loop = Loop(
            MaskedTask(model, training.penalty), batches, batches, training, Path(folder), 0, accelerator, "benchmark"
        )
        loop.model.train()
        optimiser = torch.optim.AdamW(loop.parameters, lr=1e-5)

        class Quiet:
            def write(self, *_: object) -> None: ...
            def show(self, *_: object) -> None: ...

        def bare(parts: list[tuple[Tensor, ...]]) -> None:
            for waveforms, _lengths in parts:
                with accelerator.autocast():
                    with torch.no_grad():  # frozen, as in training
                        features = hubert.feature_extractor(waveforms)
                    states = hubert.encoder(hubert.feature_projection(features.transpose(1, 2)))[0]
                states.float().square().mean().backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        def timed(work: object, *arguments: object) -> float:
            if on_gpu:
                torch.cuda.synchronize()
            start = time.perf_counter()
            work(*arguments)  # type: ignore[operator]
            if on_gpu:
                torch.cuda.synchronize()
            return time.perf_counter() - start

        mine, theirs, ratios, heard = [], [], [], []
        for step in range(args.steps + 2):
            parts = loop._read(step)
            moved = [(part.waveforms.to(accelerator.device), part.lengths) for part in parts]
            pair = (
                timed(lambda step=step, parts=parts: loop._step(step + 1, parts, Quiet(), Quiet())),
                timed(bare, moved),
            )
            if step >= 2:
                heard.append(sum(float(part.lengths.sum()) for part in parts) * 0.02)
                mine.append(pair[0])
                theirs.append(pair[1])
                ratios.append(pair[1] / pair[0])
        reading = statistics.median(timed(loop._read, step) for step in range(5))
    audio = sum(heard)
    print(f"{args.size}, {args.device}: {audio / sum(mine):.1f} audio seconds per second in training")
    print(f"bare forward + backward + AdamW: {audio / sum(theirs):.1f}; ratio {statistics.median(ratios):.2f} (median)")
    print(f"reading, cropping and masking a step (in a thread beside it): {1000 * reading:.0f} ms")
    if on_gpu:
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    print(f"peak resident memory {peak():.2f} GB")


def growth(args: argparse.Namespace) -> None:
    for count in (1000, 10000, 100000):
        given = clips(count, 4.5, 50)
        batches = Batches(given, BatchSettings(), MaskSettings(), Framing(), 0)
        start = time.perf_counter()
        batches.epoch(0)
        print(f"{count} clips: an epoch is planned in {1000 * (time.perf_counter() - start):.0f} ms")


def time_clustering(args: argparse.Namespace) -> None:
    """Frames in a file, as a corpus leaves them."""

    class Noise:
        width = args.width
        keys = tuple(range(-(-args.frames // 1000)))

        def lengths(self) -> list[int]:
            return [1000] * len(self.keys)

        def layer(self, index: int, layer: int) -> np.ndarray:
            return np.random.default_rng(index).standard_normal((1000, args.width)).astype(np.float16)

    with tempfile.TemporaryDirectory() as folder, FrameFile(Path(folder) / "f", Noise(), 0) as frames:  # type: ignore[arg-type]
        before = peak()
        start = time.perf_counter()
        settings = KMeansSettings(max_iter=args.passes, n_init=3)
        found = clustering.fit(frames.gather, frames.count, args.clusters, settings)
        for first in range(0, frames.count, 20000):
            clustering.nearest(frames.rows(first, first + 20000), found.centroids)
        print(
            f"{frames.count} x {frames.width} frames, K = {args.clusters}: {found.steps} batches, "
            f"{time.perf_counter() - start:.0f} s; peak resident memory {peak():.2f} GB ({before:.2f} before)"
        )


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["throughput", "growth", "clustering"], required=True)
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="no")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--frames", type=int, default=1_300_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--passes", type=int, default=2)
    args = parser.parse_args()
    {"throughput": throughput, "growth": growth, "clustering": clustering}[args.only](args)


if __name__ == "__main__":
    main()
