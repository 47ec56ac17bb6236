"""Run a frozen upstream once over every utterance, one at a time, and store what it gives."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from s3prl_emotion.errors import RunError
from s3prl_emotion.features.forms import STATISTICS
from s3prl_emotion.features.management import delete, stores
from s3prl_emotion.features.store import Store, extraction_lock
from s3prl_emotion.features.writing import Writer, unwritable
from s3prl_emotion.interruption import check, deferred

logger = logging.getLogger(__name__)

_AHEAD = 4  # waveforms read ahead of the upstream
_HEADROOM = 1.05  # bytes are estimated from durations


@dataclass(frozen=True)
class Waveform:
    """What to extract."""

    key: str  # of the waveform's content
    duration_s: float  # for estimates
    read: Callable[[], np.ndarray]  # gives the waveform at 16 kHz


def extract(
    store: Store,
    utterances: Sequence[Waveform],
    compute: Callable[[Tensor], Tensor],
    device: str,
    limit_bytes: int | None = None,
    what: str = "utterances",
) -> int:
    """Store the hidden states of every utterance that the store does not hold yet.

    One utterance at a time: its states depend on nothing else. An interruption keeps what is stored.

    Args:
        store: where to
        utterances: what; several of one content are extracted once
        compute: waveform ``(samples,)`` on ``device`` to states ``(layers, frames, width)``
        device: where the upstream is
        limit_bytes: bound for all stores of this root together; least recently used ones are deleted for it
        what: their kind, in the plural, for the log

    Returns:
        the number of utterances extracted

    Raises:
        RunError: if the disk or the limit is too small; the message says how much is needed, and where
    """
    if not _missing(store, utterances):
        return 0  # nothing is written: the store may belong to somebody else
    with writing(store):
        store.refresh()
        missing = _missing(store, utterances)
        if not missing:
            return 0
        make_room(store, _needed_bytes(store, missing), limit_bytes)
        logger.info("extracting hidden states of %d %s into %s", len(missing), what, store.folder)
        with (
            deferred("the utterance"),
            Writer(store) as writer,
            torch.no_grad(),
            tqdm(total=len(missing), desc="upstream", disable=None) as bar,
        ):
            for done, (item, samples) in enumerate(_read_ahead(missing), start=1):
                writer.write(item.key, compute(torch.from_numpy(samples).to(device)))
                bar.update()
                check(f"{store.folder} has the hidden states of {done} of {len(missing)} {what}")
        store.refresh()
        return len(missing)


@contextlib.contextmanager
def writing(store: Store) -> Iterator[None]:
    """Alone among the processes that add to a store.

    Raises:
        RunError: if its folder cannot be written
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(extraction_lock(store.folder))
        except OSError as error:
            raise unwritable(store.folder, error) from error
        yield


def _missing(store: Store, utterances: Sequence[Waveform]) -> list[Waveform]:
    return [item for item in {item.key: item for item in utterances}.values() if item.key not in store]


def make_room(store: Store, needed: int, limit_bytes: int | None) -> None:
    """Check that ``needed`` bytes fit on the disk and into the limit, deleting other stores, least recently used first.

    Raises:
        RunError: if they do not fit
    """
    root = store.folder.parent
    if limit_bytes is not None:
        present = stores(root)
        total = sum(info.bytes for info in present) + needed
        for info in present:
            if total <= limit_bytes:
                break
            if info.name != store.folder.name and delete(root, info.name):
                logger.warning("--cache-limit: deleted %s (%s)", root / info.name, human(info.bytes))
                total -= info.bytes
        if total > limit_bytes:
            raise RunError(
                f"hidden states of {store.title} need {human(needed)} more in {root}, {human(total)} in all, "
                f"above --cache-limit {human(limit_bytes)}. Raise it, use --cache-dtype float16, or --no-cache"
            )
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise RunError(
            f"hidden states of {store.title} need {human(needed)} in {root}, where {human(free)} are free. Make "
            "room (`s3prl-emotion cache ls`), name another disk with --cache-root DIR, or use --no-cache"
        )
    logger.info("hidden states need %s in %s (%s free)", human(needed), root, human(free))


def human(size: float) -> str:
    """Bytes in words: 65.1 GB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def parse_size(text: str) -> int:
    """``"100G"``, ``"500 MB"`` or ``"1e9"`` to bytes (powers of 1000).

    Raises:
        ValueError: for anything else, and for sizes that are not positive
    """
    words = text.strip().upper().removesuffix("B").strip()
    factor = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}.get(words[-1:], 1)
    try:
        size = float(words[:-1] if factor > 1 else words) * factor
    except ValueError:
        size = math.nan
    if not math.isfinite(size) or size < 1:
        raise ValueError(f"expected a size of at least one byte such as 100G, got {text!r}")
    return int(size)


def _needed_bytes(store: Store, missing: Sequence[Waveform]) -> int:
    if store.key.form in STATISTICS:
        frames = float(len(missing) * STATISTICS[store.key.form])
    else:
        frames = sum(item.duration_s for item in missing) * 16000 / store.rate + len(missing)
    return int(frames * store.frame_bytes * _HEADROOM)


def _read_ahead(utterances: Sequence[Waveform]) -> Iterator[tuple[Waveform, np.ndarray]]:
    """Waveforms in order, a few of them decoded by another thread while the upstream computes."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque[tuple[Waveform, Future[np.ndarray]]] = deque()
        for item in utterances:
            waiting.append((item, pool.submit(item.read)))
            if len(waiting) > _AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
