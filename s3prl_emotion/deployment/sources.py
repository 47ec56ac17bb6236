"""Where a trained head comes from: a run folder, a fold's folder, a checkpoint of the Runner, or an export."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from s3prl_emotion.bridge import stock
from s3prl_emotion.bridge.checkpoints import load_checkpoint
from s3prl_emotion.bridge.registration import STOCK_DOWNSTREAMS
from s3prl_emotion.config import from_mapping
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.deployment.export import is_export, read_export
from s3prl_emotion.deployment.parts import FoldParts, Parts, UpstreamUse
from s3prl_emotion.downstream.config import ModelConfig, fold_number
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.results import read_results
from s3prl_emotion.experiment.folder import FOLD_FILE, RUN_FILE, checkpoint_sha256, read_json
from s3prl_emotion.experiment.sweep import CHOICE_FILE, chosen_runs
from s3prl_emotion.upstream_patches._hub import snapshot_source

logger = logging.getLogger(__name__)

BEST = "dev-best.ckpt"


def read_parts(source: str | Path, fold: int | str | None = None) -> Parts:
    """Read trained heads.

    Args:
        source: a run folder, a fold's folder, a checkpoint, or an exported folder
        fold: the one fold to take; None or ``"all"`` takes every finished one

    Raises:
        RunError: if ``source`` is none of these, holds no finished fold, or not the fold asked for
    """
    path = Path(source).expanduser()
    wanted = None if fold in (None, "all") else _number(fold)
    if is_export(path):
        parts = read_export(path, wanted)
    elif path.is_file():
        parts = _from_checkpoints([path], path.absolute().parent.parent)
    elif (path / RUN_FILE).is_file():
        parts = _from_checkpoints(_scored(path, wanted), path)
    elif (path / CHOICE_FILE).is_file():
        runs = chosen_runs(path)
        if wanted is not None and wanted not in runs:
            raise RunError(f"--fold {wanted}: {path} holds fold {', '.join(map(str, runs))}")
        numbers = list(runs) if wanted is None else [wanted]
        parts = _from_checkpoints([item for number in numbers for item in _scored(runs[number], number)], path)
    elif (path / BEST).is_file():
        parts = _from_checkpoints([path / BEST], path.absolute().parent)
    else:
        raise RunError(
            f"{path}: neither a run folder ({RUN_FILE}), a fold's folder ({BEST}), a checkpoint nor an export "
            "(config.json with head.safetensors). `s3prl-emotion run` prints its run folder as its last line"
        )
    numbers = [item.number for item in parts.folds]
    if wanted is not None and numbers != [wanted]:
        raise RunError(f"--fold {wanted}: {path} holds fold {', '.join(map(str, numbers))}")
    return parts


def _number(fold: int | str | None) -> int:
    try:
        return fold_number(str(fold))
    except ValueError:
        raise RunError(f"--fold {fold!r}: expected all, or the number of one fold") from None


def _scored(folder: Path, wanted: int | None) -> list[Path]:
    """The checkpoints behind a run's result, by fold."""
    finished = {fold_number(path.parent.name): path for path in folder.glob(f"fold[1-9]*/{FOLD_FILE}")}
    if not finished:
        raise RunError(f"{folder}: no fold is finished yet; repeat the command that trains it")
    if wanted is not None and wanted not in finished:
        known = ", ".join(map(str, sorted(finished)))
        raise RunError(f"--fold {wanted}: not finished, or no fold of {folder}; finished: {known}")
    checkpoints = []
    for number in sorted(finished) if wanted is None else [wanted]:
        checkpoint = finished[number].with_name(BEST)
        if checkpoint_sha256(str(checkpoint)) != read_json(finished[number], "a finished fold")["checkpoint_sha256"]:
            raise RunError(
                f"{checkpoint} is missing, or not the one that fold {number} was scored with. Let its training end, "
                "or score it again: repeat the command that trained it with -m evaluate"
            )
        checkpoints.append(checkpoint)
    return checkpoints


def _from_checkpoints(checkpoints: list[Path], run_folder: Path) -> Parts:
    """Heads of one run; what the checkpoints do not hold (labels, hashes, results) comes from its run folder."""
    places = (run_folder / RUN_FILE, checkpoints[0].absolute().parent.parent / RUN_FILE)
    about: dict[str, Any] = next((read_json(place, "a run folder") for place in places if place.is_file()), {})
    folds, args, config = [], {}, {}
    for checkpoint in checkpoints:
        content = load_checkpoint(checkpoint)
        args, config = vars(content["Args"]), content["Config"]
        folds.append(_fold(content, args, checkpoint))
    expert = config["downstream_expert"]
    is_stock = args["downstream"] in STOCK_DOWNSTREAMS
    manifest = _manifest(checkpoints[-1], expert)
    if is_stock:
        model = ModelConfig(pooling={"name": "mean"}, projector_dim=expert["modelrc"]["projector_dim"])
    else:
        model = from_mapping(ModelConfig, expert["modelrc"], f"{checkpoints[-1]}: downstream_expert.modelrc")
    results = run_folder / "results.json"
    weights, revision = _on_hub(args["upstream_ckpt"])
    model_config, config_revision = _on_hub(args["upstream_model_config"])
    return Parts(
        upstream=UpstreamUse(
            name=args["upstream"],
            checkpoint=weights,
            checkpoint_sha256=about.get("checkpoint_sha256"),
            checkpoint_revision=revision,
            model_config=model_config,
            model_config_sha256=about.get("model_config_sha256"),
            model_config_revision=config_revision,
            fine_tuned=args["upstream_trainable"],
            selection=args["upstream_feature_selection"],
            layer=args["upstream_layer_selection"],
            normalize=args["upstream_feature_normalize"],
        ),
        downstream=args["downstream"],
        model=model,
        labels=manifest.labels,
        folds=tuple(folds),
        corpus=manifest.corpus,
        max_duration_s=None if is_stock else expert["datarc"].get("max_duration_s"),
        trim_zeros=bool(about.get("trim_zeros", False)),
        results=read_results(results) if results.is_file() else None,
    )


def _on_hub(place: str | None) -> tuple[str | None, str | None]:
    """A snapshot of a model on the Hub as its id and commit; anything else as it is."""
    source = None if place is None else snapshot_source(place)
    return (place, None) if source is None else source


def _fold(content: dict[str, Any], args: dict[str, Any], checkpoint: Path) -> FoldParts:
    state, expert = content["Downstream"], content["Config"]["downstream_expert"]
    if args["downstream"] in STOCK_DOWNSTREAMS:
        head = _from_stock(state, expert, checkpoint)
    else:
        head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
    return FoldParts(
        number=fold_number(expert["datarc"].get("test_fold") or args["downstream_variant"] or "fold1"),
        head=head,
        layer_weights=content.get("Featurizer", {}).get("weights"),
        upstream=content["Upstream"] if args["upstream_trainable"] else None,
    )


def _from_stock(state: dict[str, Any], expert: dict[str, Any], checkpoint: Path) -> dict[str, Tensor]:
    """S3PRL's own expert as our head with mean pooling; with SUPERB's settings they are the same function."""
    names = {
        "projector.weight": "projector.weight",
        "projector.bias": "projector.bias",
        "model.post_net.linear.weight": "classifier.weight",
        "model.post_net.linear.bias": "classifier.bias",
    }
    if not stock.sees_only_means(expert) or set(state) != {*names, "best_score"}:
        raise RunError(
            f"{checkpoint}: of S3PRL's own emotion expert, only SUPERB's settings (mean pooling, one linear layer) can "
            "be used here; train one of ours, see `s3prl-emotion ls downstreams`"
        )
    return {ours: state[theirs] for theirs, ours in names.items()}


def _manifest(checkpoint: Path, expert: dict[str, Any]) -> Manifest:
    """The run's manifest: a checkpoint does not hold the names of its classes."""
    relative = expert.get("datarc", {}).get("manifest") or "../manifest.jsonl"
    for path in (checkpoint.absolute().parent / relative, Path(relative)):
        if path.is_file():
            return Manifest.read(path)
    raise RunError(
        f"{checkpoint}: a checkpoint does not hold the names of its classes, and the run's manifest is not at "
        f"{checkpoint.parent / relative}. Keep checkpoints in their run folder, or export the run"
    )
