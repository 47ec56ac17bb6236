"""Stage ``export``: what was pretrained, as a folder that ``run --pretrained`` starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3prl_emotion.downstream.pretrained import read_about
from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining import export as shared
from s3prl_emotion.pretraining.contrastive import clustering, embed, training
from s3prl_emotion.pretraining.contrastive.plan import RECIPE, ContrastivePlan
from s3prl_emotion.pretraining.provenance import Stage
from s3prl_emotion.printable import code, markdown
from s3prl_emotion.reporting.layout import percent

PAPER = "arXiv 2401.11017 (ICASSP 2024)"


def root_of(plan: ContrastivePlan) -> Path:
    """The folder that ``--pretrained`` names: with the folds inside, or one head for all."""
    return plan.folder / "head"


def folder_of(plan: ContrastivePlan, fold: int | None) -> Path:
    """The head of one fold."""
    return root_of(plan) if fold is None else root_of(plan) / f"fold{fold}"


def export(plan: ContrastivePlan, fold: int | None) -> Path:
    """Write the head of a fold, or of all, with its record, what it heard, and a model card.

    Returns:
        its folder

    Raises:
        RunError: if it is not pretrained yet
    """
    stages = [embed.stage_of(plan), clustering.stage_of(plan, fold), training.stage_of(plan, fold)]
    lineage = [_finished(stage) for stage in stages]
    model = stages[-1].folder / training.HEAD
    common = {
        "recipe": RECIPE,
        "stage": training.NAME,
        "upstream": {"name": plan.upstream.name, **plan.upstream.sha256()},
        "speech": [source.name for source in plan.sources],
        "corpus": None if plan.manifest is None else plan.manifest.corpus,
        "protocol": None if plan.folds is None else plan.folds.protocol,
        "split_sha256": None if plan.folds is None else plan.folds.sha256(),
        "inductive": plan.inductive,
        "clusters": plan.settings.cluster.by,
        "demo": plan.wanted.demo,
    }
    record = {**common, "fold": fold, "lineage": lineage}
    heard = plan.told(fold)
    labelled = heard if plan.settings.cluster.by == "labels" else None
    folder = folder_of(plan, fold)
    about = read_about(model)
    card = _card(record, len(heard.utterances), f"{about.pooling['name']} pooling of {about.layers} layers")
    shared.export(model, folder, record, heard, labelled, card)
    if fold is not None:
        settings = {item["stage"]: item["settings"] for item in lineage}
        inputs = lineage[0]["inputs"]  # the same for all folds: all audio, and the encoder
        shared.write_index(root_of(plan), {**common, "settings": settings, "inputs": inputs})
    return folder


def _finished(stage: Stage) -> dict[str, Any]:
    found = stage.finished()
    if found is None:
        raise RunError(f"export: stage {stage} is not finished: run it first (--stage {stage.name})")
    return found


def _card(record: dict[str, Any], utterances: int, what: str) -> str:
    for_whom = "all folds" if record["fold"] is None else f"fold {record['fold']}"
    if record["corpus"] is None:
        said = "No corpus was divided: whether a test set was heard is told by `pretraining.jsonl`."
    elif record["inductive"]:
        said = f"It did not hear what {for_whom} of protocol {code(record['protocol'])} tests on."
    else:
        said = "It heard the whole corpus, test audio included, without its labels (transductive)."
    metrics = record["lineage"][-1]["metrics"]
    dev, before = metrics["dev"], metrics["dev_untrained"]
    by = {
        "embeddings": "clusters of each speaker's embeddings",
        "random": "random clusters: a control, which knows nothing of emotion",
        "labels": "emotion labels: an upper bound, no pretraining without labels",
    }[record["clusters"]]
    speech = ", ".join(map(code, record["speech"]))
    start = f"s3prl-emotion run -u {record['upstream']['name']} -d emotion_contrastive --pretrained FOLDER ..."
    lines = [
        *("---", "library_name: s3prl-emotion", "tags:", "- speech-emotion-recognition", "- contrastive", "---", ""),
        f"# Pretrained head: {what} of {code(record['upstream']['name'])}",
        "",
        f"Layer weights, projection and pooling, pretrained by contrast within each speaker ({PAPER}; the settings are "
        f"ours) on {utterances} utterances of {speech} for {for_whom}. "
        f"Pairs come from {by}. {said}",
        *(["", "Made with demo settings: it shows that the recipe works, and nothing else."] if record["demo"] else []),
        "",
        f"Start from it with {code(start)}.",
        "",
        "## Lineage",
        "",
        f"- upstream: {code(record['upstream']['name'])}, SHA-256 `{record['upstream']['checkpoint']}`",
    ]
    for item in record["lineage"]:
        lines.append(f"- `{item['stage']}`")
        lines += [
            f"    - input {markdown(name)}: SHA-256 {code(str(value))}"
            for name, value in item["inputs"].items()
            if value
        ]
    lines += [
        "",
        f"Step {metrics['best_step']} of {metrics['steps']}: dev loss {dev['loss']:.4f}, untrained "
        f"{before['loss']:.4f}, on {metrics['dev_utterances']} utterances of {metrics['dev_speakers']} speakers; "
        f"trained on {metrics['train_utterances']} of {metrics['train_speakers']}, "
        f"{percent(metrics['without_pairs'] / metrics['utterances'])} % of all give no pairs.",
        "",
        "`pretraining.json` holds all settings and figures, `pretraining.jsonl` what was heard.",
    ]
    return "\n".join(lines) + "\n"
