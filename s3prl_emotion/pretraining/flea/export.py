"""Stage 5: what stages 1 and 4 left, as upstreams that ``-u tapt_hubert`` and ``-u cpt_hubert`` read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3prl_emotion.pretraining import export
from s3prl_emotion.pretraining.flea.plan import RECIPE, FleaPlan
from s3prl_emotion.pretraining.masked import MODEL
from s3prl_emotion.pretraining.provenance import Stage
from s3prl_emotion.printable import code, markdown

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


def run(plan: FleaPlan, stages: list[Stage], fold: int, below: str = "") -> Path:
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
