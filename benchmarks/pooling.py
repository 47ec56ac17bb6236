"""Time the poolings against plain loops over utterances: ``python benchmarks/pooling.py --device cpu``.

Forward and backward of each pooling with a four-class linear head and cross-entropy, in training mode without channel
dropout (so that both sides compute the same values, which is checked first).

Two loops, both the formula one utterance at a time in ordinary PyTorch:

- ``S3PRL loop`` indexes the padded batch, ``x[i][:lengths[i]]``, as S3PRL's own poolings do. Each slice's gradient
  then fills a tensor of the whole batch's size;
- ``lean loop`` takes the batch apart once with ``unbind``, which avoids that. The speed-up is given against both.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s3prl_emotion.pooling import poolings

CLASSES = 4
Loop = Callable[[Any, Iterable[Tensor]], Tensor]


def mean(pooling: Any, utterances: Iterable[Tensor]) -> Tensor:
    return torch.stack([v.mean(dim=0) for v in utterances])


def mean_std(pooling: Any, utterances: Iterable[Tensor]) -> Tensor:
    return torch.stack([torch.cat((v.mean(dim=0), v.std(dim=0, correction=0))) for v in utterances])


def correlation(pooling: Any, utterances: Iterable[Tensor]) -> Tensor:
    size = pooling.input_size
    row, column = torch.triu_indices(size, size, offset=1, device=pooling._upper.device)
    out = []
    for v in utterances:
        centred = v - v.mean(dim=0)
        covariance = centred.T @ centred / len(v)
        s = (covariance.diagonal() + pooling.eps).sqrt()
        out.append((covariance / torch.outer(s, s))[row, column])
    return torch.stack(out)


def attentive_correlation(pooling: Any, utterances: Iterable[Tensor]) -> Tensor:
    size = pooling.input_size
    row, column = torch.triu_indices(size, size, offset=1, device=pooling._upper.device)
    out = []
    for v in utterances:
        weights = torch.logsumexp(pooling.queries(F.relu(pooling.attention(v))), dim=-1).softmax(dim=0)
        centred = v - weights @ v
        covariance = (centred * weights.unsqueeze(1)).T @ centred
        s = (covariance.diagonal() + pooling.eps).sqrt()
        out.append((covariance / torch.outer(s, s))[row, column])
    return torch.stack(out)


def attention(pooling: Any, utterances: Iterable[Tensor]) -> Tensor:
    return torch.stack([torch.tanh(v @ pooling.weight).softmax(dim=0) @ v for v in utterances])


LOOPS: dict[str, Loop] = {
    "mean": mean,
    "mean_std": mean_std,
    "attention": attention,
    "correlation": correlation,
    "attentive_correlation": attentive_correlation,
}


def s3prl_style(x: Tensor, lengths: Tensor) -> Iterable[Tensor]:
    return (x[i][: lengths[i]] for i in range(len(x)))


def lean(x: Tensor, lengths: Tensor) -> Iterable[Tensor]:
    return (frames[:length] for frames, length in zip(x.unbind(), lengths.tolist(), strict=True))


def step(pool: Callable[[Tensor], Tensor], head: nn.Linear, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One forward and backward pass; returns what was pooled and the gradient of the input."""
    x = x.detach().requires_grad_()
    pooled = pool(x)
    F.cross_entropy(head(pooled), labels).backward()
    if x.grad is None:
        raise RuntimeError("the pooling does not depend on its input")
    return pooled.detach(), x.grad


def milliseconds(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def compare(name: str, x: Tensor, lengths: Tensor, repeats: int) -> dict[str, float]:
    """Median milliseconds of the pooling and of both loops, interleaved so that a busy machine slows all alike."""
    options = {"channel_dropout": 0.0} if name.endswith("correlation") else {}
    torch.manual_seed(0)
    pooling = poolings.build(name, options, input_size=x.shape[2]).to(x.device).train()
    head = nn.Linear(pooling.output_size, CLASSES).to(x.device)
    labels = torch.arange(len(x), device=x.device) % CLASSES
    pools: dict[str, Callable[[Tensor], Tensor]] = {
        "vectorised": lambda x: pooling(x, lengths),
        "S3PRL loop": lambda x: LOOPS[name](pooling, s3prl_style(x, lengths)),
        "lean loop": lambda x: LOOPS[name](pooling, lean(x, lengths)),
    }
    pooled, gradient = step(pools["vectorised"], head, x, labels)
    for kind, pool in pools.items():
        other, other_gradient = step(pool, head, x, labels)
        scale = gradient.abs().max().item()
        for what, error in (
            ("values", (other - pooled).abs().max().item()),
            ("gradients", (other_gradient - gradient).abs().max().item() / scale),
        ):
            if not error < 1e-4:  # also where it is NaN
                raise SystemExit(f"{name}: {what} of the pooling and of the {kind} differ by {error:.1e}")
    times: dict[str, list[float]] = {kind: [] for kind in pools}
    for repeat in range(repeats + 3):  # three rounds of warm-up
        for kind, pool in pools.items():
            taken = milliseconds(partial(step, pool, head, x, labels), x.device)
            if repeat >= 3:
                times[kind].append(taken)
    return {kind: statistics.median(values) for kind, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()

    device = torch.device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(args.batch, args.frames, args.features, generator=generator).to(device)
    shortest = max(2, args.frames // 4)
    batches = {
        "equal": torch.full((args.batch,), args.frames),
        "ragged": torch.linspace(shortest, args.frames, args.batch).round().long(),
    }
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    shape = f"batch {args.batch} x {args.frames} frames x {args.features} features, float32"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{device} ({name}), {torch.get_num_threads()} threads, {versions}")
    print(f"{shape}; ragged: {shortest} to {args.frames} frames")
    print(f"median of {args.repeats} forward + backward passes, ms\n")
    print(f"{'pooling':<23}{'lengths':<9}{'vectorised':>11}{'lean loop':>11}{'ratio':>7}{'S3PRL loop':>12}{'ratio':>7}")
    for pooling in LOOPS:
        for kind, lengths in batches.items():
            ms = compare(pooling, x, lengths.to(device), args.repeats)
            ours, tidy, plain = ms["vectorised"], ms["lean loop"], ms["S3PRL loop"]
            print(
                f"{pooling:<23}{kind:<9}{ours:>11.2f}{tidy:>11.2f}{tidy / ours:>7.1f}{plain:>12.2f}{plain / ours:>7.1f}"
            )


if __name__ == "__main__":
    main()
