"""Lookup of an upstream's feature store by weights, code and output on a probe."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import time
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from s3prl_emotion.errors import RunError
from s3prl_emotion.features.management import ROOT_LOCK, clear_leftovers
from s3prl_emotion.features.store import ABOUT, SCHEMA, Store, StoreKey, StoreShape, read_about
from s3prl_emotion.features.writing import unwritable
from s3prl_emotion.files import UNREADABLE, write_atomically
from s3prl_emotion.locks import lock

logger = logging.getLogger(__name__)

Probe = tuple[np.ndarray, ...]
"""States of several waveforms, each ``(layers, frames, width)``, float32."""

PROBE = "probe.npz"
TOLERANCE = 0.02
"""States of the probe may differ by this much (see :func:`probe_distance`).

At HuBERT's base size another number of threads makes 1e-6, and convolutions that are rounded to TF32, as on GPUs, 6e-3
(a test holds both); a changed behaviour makes more.
"""

_TRIES = 5


def find_store(root: Path, key: StoreKey, shape: StoreShape, probe: Probe) -> Store:
    """The store of an upstream that depends on ``key`` and answers ``probe``; made if there is none.

    A store of the same upstream that is passed over, since the upstream does other things now, is named in the log.

    Args:
        root: the folder of all stores
        key: what entries depend on
        shape: of entries
        probe: states of the probe

    Raises:
        RunError: if a store's description cannot be read, or none is there and none can be made
    """
    clear_leftovers(root)
    for _ in range(_TRIES):  # another process may delete what was found here
        try:
            folder = _matching(root, key, shape, probe)
            if folder is None:
                _say_passed_over(root, key, shape, probe)
                folder = _make(root, key, shape, probe)
            return Store(folder)
        except FileNotFoundError:
            time.sleep(0.1)
    raise RunError(f"{root}: other processes keep deleting the store of {key.upstream}; repeat the command later")


def _matching(root: Path, key: StoreKey, shape: StoreShape, probe: Probe) -> Path | None:
    for about in sorted(root.glob(f"{_escaped(key.folder())}*/{ABOUT}")):
        found, its_shape, _ = read_about(about.parent)
        if found == key and its_shape == shape and _answers(about.parent, probe) is None:
            return about.parent
    return None


def _make(root: Path, key: StoreKey, shape: StoreShape, probe: Probe) -> Path:
    """A new store, unless another process has made it since."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ROOT_LOCK).open("a") as file:
            lock(file.fileno(), root / ROOT_LOCK, fcntl.LOCK_EX)
            folder = _matching(root, key, shape, probe)
            if folder is not None:
                return folder
            content = _as_file(probe)
            digest = hashlib.sha256(content).hexdigest()
            folder = root / f"{key.folder()}{digest[:8]}"
            folder.mkdir(exist_ok=True)
            (folder / ".lock").touch()
            (folder / PROBE).write_bytes(content)
            about = {**asdict(key), **asdict(shape), "probe_sha256": digest}
            write_atomically(folder / ABOUT, json.dumps(about, indent=1) + "\n")
            return folder
    except OSError as error:
        raise unwritable(root, error) from error


def _answers(folder: Path, probe: Probe) -> str | None:
    """Why the upstream of a store is not one that answers ``probe``; None if it is."""
    try:
        content = (folder / PROBE).read_bytes()
    except OSError as error:
        return f"its {PROBE} cannot be read ({error.strerror or error})"
    if hashlib.sha256(content).hexdigest() != read_about(folder)[2]:
        return f"its {PROBE} is damaged"
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            stored = tuple(file[name] for name in file.files)
    except (*UNREADABLE, zipfile.BadZipFile):
        return f"its {PROBE} is damaged"
    before, now = ([item.shape for item in items] for items in (stored, probe))
    if before != now:
        return f"the upstream now gives {now} states for the probe, not {before}"
    difference = max(probe_distance(one, other) for one, other in zip(stored, probe, strict=True))
    if difference <= TOLERANCE:
        return None
    return f"the upstream behaves otherwise now (its states of the probe differ by {difference:.2g}, relative)"


def probe_distance(one: np.ndarray, other: np.ndarray) -> float:
    r"""The largest :math:`\lVert a - b \rVert / \lVert a \rVert` over layers.

    Args:
        one: ``(layers, frames, width)``; a layer that is next to nothing is measured by a millionth of the largest
        other: the same shape
    """
    first, second = one.astype(np.float64), other.astype(np.float64)
    sizes = np.sqrt((first**2).sum(axis=(1, 2)))
    differences = np.sqrt(((first - second) ** 2).sum(axis=(1, 2)))
    scale = sizes + 1e-6 * sizes.max(initial=0.0)
    parts = np.divide(differences, scale, out=np.full_like(scale, np.inf), where=scale > 0)
    return float(np.where(differences == 0, 0.0, parts).max(initial=0.0))


def _say_passed_over(root: Path, key: StoreKey, shape: StoreShape, probe: Probe) -> None:
    """Name each store of this upstream whose states are not used any more, and why."""
    depends = ("upstream", "weights", "checkpoint_sha256", "model_config_sha256", "selection", "layer", "form", "dtype")
    for about in sorted(root.glob(f"{_escaped(key.title())}*/{ABOUT}")):
        try:
            content = json.loads(about.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if not isinstance(content, dict) or any(content.get(name) != getattr(key, name) for name in depends):
            continue
        if content.get("schema") != SCHEMA:
            reason = "an earlier version of s3prl-emotion wrote it, without checksums"
        elif content.get("s3prl") != key.s3prl:
            reason = f"it was made with S3PRL {content.get('s3prl')}, here is {key.s3prl}"
        elif content.get("source_sha256") != key.source_sha256:
            reason = "the source file of the upstream has changed since"
        elif any(content.get(name) != value for name, value in asdict(shape).items()):
            reason = f"the upstream now gives {shape}"
        else:
            reason = _answers(about.parent, probe) or "it has another name"
        logger.warning(
            "%s is passed over, states are extracted again: %s. `s3prl-emotion cache clear %s` deletes it",
            *(about.parent, reason, about.parent.name),
        )


def _as_file(probe: Probe) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *[np.ascontiguousarray(item, dtype=np.float32) for item in probe])
    return buffer.getvalue()


def _escaped(name: str) -> str:
    """A name for ``glob``, in which nothing has a meaning."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)
