"""The run folder: what it is for, who works in it, and what its finished folds add up to."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.summary import summarise, versions
from s3prl_emotion.experiment.claim import collecting, differences, only_here
from s3prl_emotion.experiment.record import (
    FOLD_FILE,
    PREDICTIONS,
    RUN_FILE,
    finished_fold,
    fold_predictions,
    read_json,
    read_run_file,
)
from s3prl_emotion.experiment.request import Request, protocol_name, uses_cache
from s3prl_emotion.files import checkpoint_sha256, is_read_only
from s3prl_emotion.protocols import audit
from s3prl_emotion.protocols.record import record
from s3prl_emotion.protocols.seal import MADE, check_seal
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.prediction import Prediction, write_predictions
from s3prl_emotion.runs.results import Results, write_results
from s3prl_emotion.upstreams.per_fold import upstream_sha256

logger = logging.getLogger(__name__)

__all__ = [
    "FOLD_FILE",
    "PREDICTIONS",
    "RUN_FILE",
    "checkpoint_sha256",
    "collect",
    "differences",
    "identity_of",
    "only_here",
    "read_json",
]


def identity_of(
    request: Request, args: argparse.Namespace, config: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain values."""
    data = None if request.data is None else str(request.data.expanduser().absolute())
    identity = {
        "upstream": args.upstream,
        "checkpoint": _place(args.upstream_ckpt),
        "checkpoint_sha256": upstream_sha256(args.upstream_ckpt),
        "model_config_sha256": upstream_sha256(args.upstream_model_config),
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


def _place(checkpoint: str | None) -> str | None:
    """A path that does not depend on the working folder; a URL or Hub id as it is."""
    return str(Path(checkpoint).absolute()) if checkpoint is not None and Path(checkpoint).exists() else checkpoint


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


def _without_fold(config: dict[str, Any]) -> dict[str, Any]:
    expert = config["downstream_expert"]
    datarc = {key: value for key, value in expert.get("datarc", {}).items() if key != "test_fold"}
    return {**config, "downstream_expert": {**expert, "datarc": datarc}}


def collect(folder: Path) -> Results:
    """Gather the finished folds of a run folder into ``predictions.csv`` and ``results.json``.

    Where they are as they should be already, or cannot be written (a read-only mount, another user's folder), they
    stay as they are.

    Raises:
        RunError: naming the file, if something there is not of this run
    """
    with collecting(folder):
        results, predictions, labels = _collected(folder)
        try:
            write_predictions(folder / PREDICTIONS, predictions, labels)
            write_results(folder / "results.json", results)
        except OSError as error:
            if not is_read_only(error) or not (folder / "results.json").is_file():
                raise
            logger.info("%s cannot be written, and stays as it is", error.filename)
    return results


def _collected(folder: Path) -> tuple[Results, list[Prediction], tuple[str, ...]]:
    about = read_run_file(folder)
    manifest = Manifest.read(folder / "manifest.jsonl")
    folds = Folds.read(folder / "folds.json")
    check_seal(about.get(MADE), manifest, folds, folder, str(folder / RUN_FILE))
    predictions: list[Prediction] = []
    steps: dict[int, int | None] = {}
    deviations = list(about["settings"]["deviations"])
    for fold in folds.folds:
        expdir = folder / f"fold{fold.number}"
        if not (expdir / FOLD_FILE).is_file():
            continue
        finished = finished_fold(expdir, fold.number, about, manifest, folds)
        predictions += fold_predictions(expdir, finished, manifest.labels, fold.test)
        steps[fold.number] = finished["step"]
        deviations += [f"fold {fold.number}: {text}" for text in finished["differs"]]
    if not predictions:
        raise RunError(f"{folder}: no fold is finished yet")
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
    return results, predictions, manifest.labels
