"""Files of a training: atomic checkpoints, logs, and weights to start from."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from s3prl_emotion.downstream.pretrained import (
    HeadUpstream,
    check_features,
    check_model,
    check_weights,
    freeze,
    read_about,
    start_from,
)
from s3prl_emotion.downstream.settings import read_expert
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.files import alike, append, replacing, write_atomically
from s3prl_emotion.s3prl_runner.building import build, ref_of
from s3prl_emotion.s3prl_runner.cache import fingerprint
from s3prl_emotion.s3prl_runner.unbatched import UnbatchedUpstream

_BEGUN_FROM = ("init_ckpt", "past_exp")
"""S3PRL's arguments that name the checkpoint that a training goes on from."""
_STEP = re.compile(r" at step (\d+):")


@contextlib.contextmanager
def atomic_checkpoints() -> Iterator[None]:
    """``torch.save`` to a path so that a reader sees the old checkpoint or the new one, never a part.

    What it holds does not tell whether the training was interrupted: the same training gives the same bytes.

    A disk that is full is an OSError with the file's name then, where torch's own writer has ``basic_ios::clear``.
    """
    original = torch.save

    def save(content: Any, place: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(place, (str, Path)):
            original(content, place, *args, **kwargs)
            return
        try:
            with replacing(place) as temporary, temporary.open("wb") as file:
                original(_content(content), file, *args, **kwargs)
        except RuntimeError as error:  # torch's own, while it closes an archive that could not be written
            fault = error.__context__
            if isinstance(fault, OSError) and fault.errno is not None:
                raise OSError(fault.errno, fault.strerror, str(place)) from error
            raise

    torch.save = save  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.save = original


def _content(content: Any) -> Any:
    """What a checkpoint holds, less where its training was begun from."""
    if isinstance(content, dict) and isinstance(content.get("Args"), argparse.Namespace):
        args = {**vars(content["Args"]), **dict.fromkeys(_BEGUN_FROM)}
        content = {**content, "Args": argparse.Namespace(**{key: alike(args[key]) for key in sorted(args)})}
    return alike(content)


def truncate_logs(folder: Path, step: int) -> None:
    """Take the lines of later steps out of ``log.log`` and ``layer_weights.csv``: the training writes them again."""
    _keep(folder / "log.log", lambda line: int(found[1]) if (found := _STEP.search(line)) else 0, step)
    _keep(folder / "layer_weights.csv", lambda line: int(first) if (first := line.split(",")[0]).isdigit() else 0, step)


def _keep(path: Path, step_of: Callable[[str], int], last: int) -> None:
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and step_of(line) <= last]  # the last one may be torn
    if len(kept) < len(lines):
        write_atomically(path, "".join(kept))


logger = logging.getLogger(__name__)

FILE = "runner.log"
"""In a fold's folder: what S3PRL printed while it worked there."""


@contextlib.contextmanager
def kept_output(folder: Path) -> Iterator[None]:
    """Within, standard output is ours alone: whole lines that others print are kept in ``folder``.

    Raises:
        OSError: naming the file, if it cannot be written
    """
    lines = _Lines(folder / FILE)
    try:
        with contextlib.redirect_stdout(lines):
            yield
    finally:
        lines.end()


class _Lines(io.TextIOBase):
    """A text stream that passes on whole lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, self._waiting = (self._waiting + text).split("\n")
        self._keep([line for line in whole if line.strip()])
        return len(text)

    def end(self) -> None:
        """Pass on what no line break followed."""
        self._keep([self._waiting] if self._waiting.strip() else [])
        self._waiting = ""

    def _keep(self, lines: list[str]) -> None:
        if lines and self._path.parent.is_dir():
            append(self._path, "".join(f"{line}\n" for line in lines))
        for line in lines:  # the Runner goes on without the batch that did not fit
            logger.log(logging.WARNING if "out of memory" in line else logging.DEBUG, "%s", line)


def load_pretrained_head(
    args: argparse.Namespace,
    expert: Mapping[str, Any],
    upstream: Any,
    featurizer: Any,
    downstream: Any,
    resumed: bool,
) -> None:
    """Put pretrained weights into a head that is to be trained, and freeze what is not to be.

    Args:
        args: S3PRL's arguments
        expert: ``downstream_expert`` of the configuration
        upstream: as the Runner built it
        featurizer: likewise
        downstream: our expert
        resumed: whether its weights come from a checkpoint: then nothing is read

    Raises:
        RunError: naming both sides, if head, upstream or shapes do not fit
    """
    config, inputs = read_expert(expert, "downstream_expert")
    start = config.modelrc.pretrained
    if start is None:
        return
    if args.mode == "train" and not resumed:
        if inputs.pretrained is None:
            raise ConfigError(
                f"-d {args.downstream} starts from a pretrained head: name its folder with --pretrained FOLDER"
            )
        folder = Path(inputs.pretrained)
        about = read_about(folder)
        check_model(about, config.modelrc, f"-d {args.downstream}", folder)
        found = HeadUpstream(
            args.upstream,
            _weights(upstream),
            args.upstream_feature_selection,
            args.upstream_layer_selection,
            args.upstream_feature_normalize,
        )
        weights = getattr(featurizer, "weights", None)
        layers = 1 if weights is None else len(weights)
        check_features(about, found, layers, int(featurizer.output_dim), folder)
        start_from(folder, downstream.head, featurizer)
    if start.frozen:
        freeze(downstream.head, featurizer)


def check_pretrained_head(args: argparse.Namespace, folder: Path) -> None:
    """Refuse an upstream that a head was not pretrained on, before hidden states are computed.

    Args:
        args: S3PRL's arguments
        folder: of the head

    Raises:
        RunError: naming both
    """
    check_weights(read_about(folder), args.upstream, fingerprint(build(ref_of(args), args.device)), folder)


def _weights(upstream: Any) -> str:
    """What its weights are known by, as the store of hidden states has it."""
    if isinstance(upstream, CachedUpstream):
        return upstream.store.key.weights
    return "" if isinstance(upstream, UnbatchedUpstream) else fingerprint(upstream)
