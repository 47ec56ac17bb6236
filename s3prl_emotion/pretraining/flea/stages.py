"""The stages of FLEA: TAPT, fine-tuning, clustering, CPT, export."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.experiment.run import check as check_experiment
from s3prl_emotion.experiment.run import run as run_experiment
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining import clustering, export
from s3prl_emotion.pretraining.clustering import cluster
from s3prl_emotion.pretraining.flea.plan import RECIPE, FleaPlan, settings_of
from s3prl_emotion.pretraining.hubert import new_folder, read_base, write_model
from s3prl_emotion.pretraining.labels import PseudoLabels
from s3prl_emotion.pretraining.loop import forget_checkpoints
from s3prl_emotion.pretraining.masked import MODEL, train
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_path
from s3prl_emotion.pretraining.settings import KMeansSettings, MaskedPredictionConfig, override_of
from s3prl_emotion.pretraining.states import hidden_states
from s3prl_emotion.pretraining.trainer_state import make_accelerator
from s3prl_emotion.printable import code, markdown
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint

logger = logging.getLogger(__name__)

REPORT = "clusters.json"


def train_stage(
    stage: Stage,
    base: Path,
    manifest: Manifest,
    labels: Callable[[], Path],
    training: MaskedPredictionConfig,
    seed: int,
    device: str,
) -> dict[str, Any]:
    """Train a stage to its end, in any number of processes.

    Args:
        stage: which
        base: the HuBERT to start from
        manifest: the utterances
        labels: makes their frame labels, if they are not there, and gives their folder; called by one process
        training: its settings
        seed: of the run
        device: ``cuda`` or ``cpu``

    Returns:
        the stage's record; ``model`` in its folder is the HuBERT of the best dev loss
    """
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    accelerator = make_accelerator(training.precision, device)
    with stage.working() if accelerator.is_main_process else contextlib.nullcontext():
        place = labels() if accelerator.is_main_process else None
        accelerator.wait_for_everyone()
        place = stage.folder / "labels" if place is None else place
        found = PseudoLabels.read(place)
        metrics = train(base, manifest, found, training, seed, stage.folder, accelerator, str(stage))
        report = place / REPORT
        if report.is_file():
            metrics["clustering"] = read_json(report, "a clustering")
        if accelerator.is_main_process:
            stage.finish(metrics)
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        forget_checkpoints(stage.folder)
    return stage.finished() or {}


def model_of(stage: Stage) -> Path:
    """The HuBERT that a stage left."""
    return stage.folder / MODEL


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Keep what a clustering says beside its labels, last of all: the labels are then complete."""
    write_atomically(folder / REPORT, json.dumps(report, indent=1, allow_nan=False) + "\n")


PAPER = "FLEA (arXiv 2312.16383, ICASSP 2024)"


def root_of(plan: FleaPlan, name: str, below: str = "") -> Path:
    """The folder that ``-k`` names: with the folds inside, or one model for all."""
    return plan.folder / below / "upstreams" / name


def folder_of(plan: FleaPlan, name: str, fold: int, below: str = "") -> Path:
    """The model of one fold."""
    root = root_of(plan, name, below)
    return root if name == "tapt" and plan.shared_tapt() else root / f"fold{fold}"


def upstream_of(plan: FleaPlan, name: str, below: str = "") -> dict[str, Any]:
    """S3PRL's ``-u`` and ``-k`` for the base, or for what a stage left."""
    if name == "base":
        return {"upstream": plan.wanted.upstream}
    return {"upstream": f"{name}_hubert", "upstream_ckpt": str(root_of(plan, name, below).absolute())}


def run_export(plan: FleaPlan, stages: list[Stage], fold: int, below: str = "") -> Path:
    """Export the last of a chain of finished stages.

    Args:
        plan: the run
        stages: all that the model goes back to, in order
        fold: whose model
        below: a cell of a grid

    Returns:
        the fold's folder
    """
    lineage = [stage.finished() or {} for stage in stages]
    last = stages[-1]
    common = {
        "recipe": RECIPE,
        "stage": last.name,
        "base": {"name": plan.base_name, "sha256": plan.base_sha256},
        "corpus": plan.manifest.corpus,
        "protocol": plan.folds.protocol,
        "split_sha256": plan.folds.sha256(),
        "inductive": plan.inductive,
        "demo": plan.wanted.demo,
    }
    # A stage that was the same for all folds heard what any of them may hear.
    heard = plan.heard(None if any(stage.fold is None for stage in stages) else fold)
    labelled = plan.labelled(fold) if any(stage.name == "finetune" for stage in stages) else None
    folder = folder_of(plan, last.name, fold, below)
    record = {**common, "fold": last.fold, "lineage": lineage}
    export.export(last.folder / MODEL, folder, record, heard, labelled, _card(record, len(heard.utterances)))
    root = root_of(plan, last.name, below)
    if folder != root:
        settings = {item["stage"]: item["settings"] for item in lineage}
        export.write_index(root, {**common, "settings": settings})
    return folder


def _card(record: dict[str, Any], utterances: int) -> str:
    fold = "all folds" if record["fold"] is None else f"fold {record['fold']}"
    said = (
        "It did not hear what this fold tests on."
        if record["inductive"]
        else "It heard the whole corpus, test audio included, without its labels (transductive)."
    )
    lines = [
        *("---", "library_name: transformers", "tags:", "- speech-emotion-recognition", "- hubert", "---", ""),
        f"# HuBERT after stage `{record['stage']}` of {PAPER}",
        "",
        f"Pretrained further on {utterances} utterances of {code(record['corpus'])} for {fold} of protocol "
        f"{code(record['protocol'])}. {said}",
        *(["", "Made with demo settings: it shows that the recipe works, and nothing else."] if record["demo"] else []),
        "",
        f"Use it with `s3prl-emotion run -u {record['stage']}_hubert -k FOLDER ...`, or transformers' `HubertModel`.",
        "",
        "## Lineage",
        "",
        f"- base: {code(record['base']['name'])}, SHA-256 `{record['base']['sha256']}`",
    ]
    for item in record["lineage"]:
        lines.append(f"- `{item['stage']}`: {_told(item)}")
        lines += [f"    - input {markdown(name)}: SHA-256 {code(str(value))}" for name, value in item["inputs"].items()]
    lines += ["", "`pretraining.json` holds all settings and figures, `pretraining.jsonl` what was heard."]
    return "\n".join(lines) + "\n"


def _told(item: dict[str, Any]) -> str:
    metrics, settings = item["metrics"], item["settings"]
    if item["stage"] == "finetune":
        return f"{settings['downstream']}, step {metrics['step']} (dev score {metrics['dev_score']:.4f})"
    if item["stage"] == "cluster":
        return f"layer {settings['layer']}, {settings['clusters']} clusters, inertia {metrics['inertia']:.4g} per frame"
    dev = metrics["dev"]
    return (
        f"step {metrics['best_step']} of {metrics['steps']} (best dev loss {dev['loss']:.4f}, masked accuracy "
        f"{dev['masked_accuracy']:.4f}, unigram {metrics['unigram']:.4f}, chance {metrics['chance']:.4f})"
    )


def tapt_stage(plan: FleaPlan, fold: int) -> Stage:
    """The stage for a fold: its own, or the one for all where everything may be heard."""
    settings = plan.settings.tapt
    given = {} if settings.kmeans is None else {"kmeans": sha256_of_path(Path(settings.kmeans))}
    about = {**settings_of(settings), "kmeans_settings": settings_of(plan.settings.cluster.kmeans)}
    return plan.stage("tapt", None if plan.shared_tapt() else fold, about, given)


def run_tapt(plan: FleaPlan, fold: int) -> dict[str, Any]:
    """Cluster the base's hidden states, or label them by a given k-means; then train.

    Returns:
        the stage's record
    """
    stage = tapt_stage(plan, fold)
    settings = plan.settings.tapt
    manifest = plan.heard(stage.fold)

    def labels() -> Path:
        place = stage.folder / "labels"
        if not (place / REPORT).is_file():
            kmeans: KMeansSettings = plan.settings.cluster.kmeans
            blocks = read_base(plan.base).blocks
            states = hidden_states(
                plan.base, manifest, [settings.layer], blocks, plan.wanted.cache_options, plan.device
            )
            given = None if settings.kmeans is None else Path(settings.kmeans)
            write_report(place, cluster(states, settings.layer, settings.clusters, given, kmeans, manifest, place))
        return place

    return train_stage(stage, plan.base, manifest, labels, settings.training, plan.wanted.seed, plan.device)


def finetune_stage(plan: FleaPlan, fold: int) -> Stage:
    """The stage for a fold."""
    inputs = {"tapt": sha256_of_path(folder_of(plan, "tapt", fold)), "folds": plan.folds.sha256()}
    return plan.stage("finetune", fold, settings_of(plan.settings.finetune), inputs)


def run_folder(plan: FleaPlan, upstream: str, downstream: str) -> Path:
    """Where a system of the last table is trained and tested."""
    return plan.folder / "runs" / f"{upstream}-{downstream}"


def fine_tune(plan: FleaPlan, upstream: dict[str, Any], downstream: str, config: Any, folder: Path, folds: Any) -> None:
    """Fine-tune an upstream on folds, ``-f -s last_hidden_state``, and test it; finished folds are not run again."""
    run_experiment(*plan.request(_fine_tuning(upstream, downstream, config, folder), folds))


def check(plan: FleaPlan) -> None:
    """Check the settings of stage 2 and of the last table on the base, before anything is trained.

    Raises:
        EmotionError: naming the option that is wrong, or file and key
    """
    settings = plan.settings
    base = upstream_of(plan, "base")
    wanted = [(settings.finetune.downstream, settings.finetune.config)]
    wanted += [(name, settings.evaluate.config) for name in settings.evaluate.downstreams]
    for downstream, config in wanted:
        s3prl = _fine_tuning(base, downstream, config, run_folder(plan, "base", downstream))
        check_experiment(plan.request(s3prl, plan.numbers)[0])


def _fine_tuning(upstream: dict[str, Any], downstream: str, config: Any, folder: Path) -> dict[str, Any]:
    """S3PRL's arguments."""
    return {
        **upstream,
        "downstream": downstream,
        "upstream_trainable": True,
        "upstream_feature_selection": "last_hidden_state",
        "override": override_of(config),
        "expdir": str(folder),
    }


def run_finetune(plan: FleaPlan, fold: int) -> dict[str, Any]:
    """Fine-tune stage 1, then write the dev-best checkpoint's HuBERT as a folder in transformers format.

    Returns:
        the stage's record
    """
    stage = finetune_stage(plan, fold)
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    settings = plan.settings.finetune
    place = run_folder(plan, "tapt", settings.downstream)
    with stage.working():
        fine_tune(plan, upstream_of(plan, "tapt"), settings.downstream, settings.config, place, [fold])
        trained = RunFolder(place).fold(fold)
        weights = {
            name.removeprefix("model."): value for name, value in load_checkpoint(trained.best)["Upstream"].items()
        }
        with new_folder(stage.folder / MODEL) as temporary:
            write_model(read_base(folder_of(plan, "tapt", fold)), temporary, weights)
        about = read_json(trained.record, "a finished fold")
        return stage.finish(
            {
                "run": place.relative_to(plan.folder).as_posix(),
                "step": about["step"],
                "dev_score": about["dev_score"],
                "checkpoint_sha256": about["checkpoint_sha256"],
            }
        )


@dataclass(frozen=True)
class Cell:
    """A layer and a number of clusters; ``below`` is where its stages lie in the run's folder."""

    layer: int
    clusters: int
    below: str = ""


def cell_of(plan: FleaPlan) -> Cell:
    """The one cell of a run that is no grid."""
    return Cell(plan.settings.cluster.layer, plan.settings.cluster.clusters)


def cluster_stage(plan: FleaPlan, fold: int, cell: Cell) -> Stage:
    """The stage for a fold and a cell."""
    settings = settings_of(plan.settings.cluster) | {"layer": cell.layer, "clusters": cell.clusters}
    inputs = {"finetune": sha256_of_path(finetune_stage(plan, fold).folder / MODEL)}
    return plan.stage("cluster", fold, settings, inputs, cell.below)


def labels_of(stage: Stage) -> Path:
    """Where the stage leaves its labels."""
    return stage.folder / "labels"


def run_cluster(plan: FleaPlan, fold: int, cell: Cell, layers: Sequence[int] = ()) -> dict[str, Any]:
    """Extract, cluster and report.

    Args:
        plan: the run
        fold: whose model, and whose audio
        cell: layer and number of clusters
        layers: of all cells, which share one extraction

    Returns:
        the stage's record
    """
    stage = cluster_stage(plan, fold, cell)
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    model = finetune_stage(plan, fold).folder / MODEL
    manifest = plan.heard(fold)
    with stage.working():
        blocks = read_base(model).blocks
        wanted = sorted({cell.layer, *layers})
        states = hidden_states(model, manifest, wanted, blocks, plan.wanted.cache_options, plan.device)
        place = labels_of(stage)
        settings = plan.settings.cluster.kmeans
        report = clustering.cluster(states, cell.layer, cell.clusters, None, settings, manifest, place)
        write_report(place, report)
        return stage.finish(report)


def cpt_stage(plan: FleaPlan, fold: int, cell: Cell) -> Stage:
    """The stage for a fold and a cell."""
    inputs = {"labels": sha256_of_path(labels_of(cluster_stage(plan, fold, cell)) / "labels.npy")}
    return plan.stage("cpt", fold, settings_of(plan.settings.cpt), inputs, cell.below)


def run_cpt(plan: FleaPlan, fold: int, cell: Cell) -> dict[str, Any]:
    """Train on stage 3's labels.

    Returns:
        the stage's record
    """
    before = cluster_stage(plan, fold, cell)
    stage = cpt_stage(plan, fold, cell)

    def labels() -> Path:
        return labels_of(before)

    training = plan.settings.cpt.training
    return train_stage(stage, plan.base, plan.heard(fold), labels, training, plan.wanted.seed, plan.device)
