"""The run folder: what it is for, who works in it, and what its finished folds add up to."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock

from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.predictions import read_predictions, write_predictions
from s3prl_emotion.evaluation.results import summarise, versions, write_results
from s3prl_emotion.experiment.request import Request, protocol_name, uses_cache
from s3prl_emotion.files import write_atomically
from s3prl_emotion.protocols import audit
from s3prl_emotion.protocols.record import record
from s3prl_emotion.protocols.split import Folds

RUN_FILE = "run.json"
FOLD_FILE = "fold.json"
PREDICTIONS = "predictions.csv"


def identity_of(
    request: Request, args: argparse.Namespace, config: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain values."""
    data = None if request.data is None else str(request.data.expanduser().absolute())
    identity = {
        "upstream": args.upstream,
        "checkpoint": None if args.upstream_ckpt is None or Path(args.upstream_ckpt).exists() else args.upstream_ckpt,
        "checkpoint_sha256": checkpoint_sha256(args.upstream_ckpt),
        "model_config_sha256": checkpoint_sha256(args.upstream_model_config),
        "upstream_trainable": args.upstream_trainable,
        "upstream_feature_selection": args.upstream_feature_selection,
        "upstream_layer_selection": args.upstream_layer_selection,
        "upstream_feature_normalize": args.upstream_feature_normalize,
        "downstream": args.downstream,
        "config": _without_fold(config),
        "seed": args.seed,
        "corpus": {
            "name": request.corpus,
            "data": data,
            "table_sha256": checkpoint_sha256(data) if data is not None and Path(data).is_file() else None,
            "options": dict(request.corpus_options),
        },
        "protocol": protocol_name(request, args),
        "skip_bad": request.skip_bad,
        "trim_zeros": request.trim_zeros,
        "drop_leaks": request.drop_leaks,
        "pretraining": [checkpoint_sha256(str(path)) for path in request.pretraining],
        "cache": request.cache_options.dtype if uses_cache(request, args) else None,
        "settings": settings,
    }
    return dict(json.loads(json.dumps(identity)))


def check(folder: Path, identity: dict[str, Any]) -> None:
    """Refuse to go on in a run folder that was made for something else.

    Raises:
        RunError: naming what differs
    """
    if not (folder / RUN_FILE).is_file():
        return
    if not any(folder.glob("fold*/*.ckpt")) and not any(folder.glob(f"fold*/{FOLD_FILE}")):
        (folder / RUN_FILE).unlink()  # nothing was computed for it
        return
    earlier = read_json(folder / RUN_FILE, "a run folder")
    differing = [line for key in identity for line in differences(key, earlier.get(key), identity[key])]
    if differing:
        raise RunError(
            f"{folder} holds a run with other settings: {'; '.join(differing[:5])}. "
            "Name another folder with -n or -p, or remove this one"
        )


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Write down what this run folder is for."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RUN_FILE, json.dumps(identity, indent=2) + "\n")


def _incompleteness(manifest: Manifest) -> list[str]:
    """One sentence if the corpus is not the whole one that its name promises."""
    name = "iemocap" if manifest.corpus == "superb_metadata" else manifest.corpus
    known = corpora.get(name).difference(manifest) if name in corpora.names() else ""
    return [known] if known else []


def _own_name(about: dict[str, Any], manifest: Manifest) -> str:
    """The corpus' name for people: with the data's own where many corpora share a reader, as in a run folder's name."""
    if manifest.corpus != about["name"] or about["name"] not in corpora.names() or about["data"] is None:
        return manifest.corpus
    named_by_data = corpora.get(about["name"]).named_by_data
    return f"{manifest.corpus}_{Path(about['data']).stem}" if named_by_data else manifest.corpus


def _shared(folder: Path) -> list[dict[str, Any]]:
    """What the audit found that train, dev and test share: declared by the protocol, or no leak."""
    path = folder / audit.FILE
    return audit.summary(audit.read(path)) if path.is_file() else []


def differences(key: str, earlier: Any, now: Any) -> list[str]:
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = sorted({*earlier, *now})
        return [line for name in keys for line in differences(f"{key}.{name}", earlier.get(name), now.get(name))]
    return [] if earlier == now else [f"{key} was {earlier!r} and is {now!r}"]


def _without_fold(config: dict[str, Any]) -> dict[str, Any]:
    expert = config["downstream_expert"]
    datarc = {key: value for key, value in expert.get("datarc", {}).items() if key != "test_fold"}
    return {**config, "downstream_expert": {**expert, "datarc": datarc}}


def collect(folder: Path) -> dict[str, Any]:
    """Gather the finished folds of a run folder into ``predictions.csv`` and ``results.json``."""
    about = read_json(folder / RUN_FILE, "a run folder")
    manifest = Manifest.read(folder / "manifest.jsonl")
    folds = Folds.read(folder / "folds.json")
    predictions = []
    steps: dict[int, int | None] = {}
    deviations = list(about["settings"]["deviations"])
    for fold in folds.folds:
        done = folder / f"fold{fold.number}" / FOLD_FILE
        if not done.is_file():
            continue
        finished = read_json(done, "a finished fold")
        rows, _ = read_predictions(done.with_name(PREDICTIONS))
        if checkpoint_sha256(str(done.with_name(PREDICTIONS))) != finished["predictions_sha256"]:
            raise RunError(
                f"{done.with_name(PREDICTIONS)} was changed after the fold ended: score it again with -m evaluate"
            )
        if sorted(row.utterance for row in rows) != sorted(fold.test):
            raise RunError(f"{done.with_name(PREDICTIONS)} does not hold exactly the {len(fold.test)} test utterances")
        predictions += rows
        steps[fold.number] = finished["step"]
        deviations += [f"fold {fold.number}: {text}" for text in finished["differs"]]
    if not predictions:
        raise RunError(f"{folder}: no fold is finished yet")
    write_predictions(folder / "predictions.csv", predictions, manifest.labels)
    results = summarise(
        predictions,
        manifest.labels,
        upstream=about["upstream"],
        checkpoint_sha256=about["checkpoint_sha256"],
        downstream=about["downstream"],
        corpus=manifest.corpus,
        corpus_name=_own_name(about["corpus"], manifest),
        protocol={**record(manifest, folds), "shared": _shared(folder)},
        steps=steps,
        seed=about["seed"],
        versions=versions(),
        settings={**about["settings"], "deviations": deviations + _incompleteness(manifest)},
        folds_expected=[fold.number for fold in folds.folds],
    )
    write_results(folder / "results.json", results)
    return results


@contextlib.contextmanager
def only_here(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; folds can be trained by several processes at once, a fold by one only."""
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RunError(f"{folder}: another process is working on this fold") from error
    try:
        yield
    finally:
        lock.release()


def checkpoint_sha256(path: str | None) -> str | None:
    """SHA-256 of a checkpoint file, or of all files of a checkpoint folder with their names; None for no path."""
    if path is None or not Path(path).exists():
        return None
    root = Path(path)
    files: Sequence[Path] = [root] if root.is_file() else sorted(item for item in root.rglob("*") if item.is_file())
    digest = hashlib.sha256()
    for file in files:
        if root.is_dir():
            digest.update(file.relative_to(root).as_posix().encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RunError(f"{path.parent}: not {what}: {path.name} is missing") from None
    except (ValueError, TypeError) as error:
        raise RunError(f"{path}: not valid JSON: {error}") from error
