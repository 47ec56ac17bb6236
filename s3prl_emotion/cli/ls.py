"""``ls``: what can be named."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from s3prl_emotion.plugins import plugin_of

if TYPE_CHECKING:
    from s3prl_emotion.corpora import Corpus
    from s3prl_emotion.registry import Registry

KINDS = (
    "downstreams",
    "upstreams",
    "corpora",
    "protocols",
    "poolings",
    "objectives",
    "classifiers",
    "effects",
    "studies",
    "shims",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS)


def main(args: argparse.Namespace) -> int:
    """Print one name per line, with a few words where there are some, and the file of a plugin."""
    if args.kind == "upstreams":
        print(_upstreams())
        return 0
    width = 17 if args.kind == "corpora" else 28
    for name, words, file in _entries(args.kind):
        text = f"{words}  [plugin: {file}]" if plugin_of(file) else words
        print(f"{name:<{width}}{text}" if text else name)
    return 0


def _entries(kind: str) -> list[tuple[str, str, str | None]]:
    """Names, words, and the files that define them."""
    if kind in ("corpora", "protocols", "poolings", "objectives", "classifiers", "effects", "studies"):
        registry, words = _registry(kind)
        return [(name, words(registry.get(name)), registry.file_of(name)) for name in registry.names()]
    from s3prl_emotion.s3prl_runner import registration, shims

    if kind == "downstreams":
        found = registration.downstream_configs()
        return [(name, _first_comment(str(path)), str(path)) for name, path in found.items()]
    return [(name, _first_line(getattr(shims, f"_{name}")), None) for name in shims.apply()]


def _registry(kind: str) -> tuple[Registry[Any], Callable[[Any], str]]:
    if kind == "corpora":
        from s3prl_emotion.corpora import corpora

        return corpora, _corpus_facts
    if kind == "protocols":
        from s3prl_emotion.protocols import protocols

        return protocols, lambda protocol: str(protocol.description)
    if kind == "poolings":
        from s3prl_emotion.pooling import poolings

        return poolings, _first_line
    if kind == "classifiers":
        from s3prl_emotion.classical import classifiers

        return classifiers, lambda classifier: str(classifier.title)
    if kind == "studies":
        from s3prl_emotion.experiment.studies import studies

        return studies, lambda study: str(study.question())
    if kind == "effects":
        from s3prl_emotion.audio.augmentation import effects

        return effects, _first_line
    from s3prl_emotion.downstream.objectives import objectives

    return objectives, _first_line


def _upstreams() -> str:
    """One line for each upstream; for a dropped one that cannot be used, the reason at its end."""
    from tabulate import tabulate

    from s3prl_emotion.upstreams.listing import COLUMNS, upstream_rows

    found = upstream_rows()
    rows = [(*row.cells(), row.problem) for row in found]
    alignment = ("left", "left", "right", "right", "right", "right", "left")
    table = tabulate(rows, (*COLUMNS, ""), tablefmt="plain", disable_numparse=True, colalign=alignment)
    lines = [line.rstrip() for line in table.splitlines()]
    if any(row.source.startswith("dropped") for row in found):
        lines.append(
            "Of dropped checkpoints, settings, names and shapes were read here; run reads all and checks more."
        )
    return "\n".join(lines)


def _corpus_facts(corpus: Corpus) -> str:
    """One line in columns; what depends on the user's data is a question mark, folds that a protocol makes a dash."""
    folds = corpus.folds or ("-" if corpus.counts else "?")
    facts = (
        f"{corpus.count or '?':>4} utterances  {len(corpus.labels) or '?':>1} classes  "
        f"{corpus.speaker_count or '?':>2} speakers  {folds:>1} folds"
    )
    return f"{facts}  {corpus.default_protocol:<10} {corpus.licence}"


def _first_line(entry: Any) -> str:
    return next(iter((entry.__doc__ or "").strip().splitlines()), "")


def _first_comment(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        line = file.readline()
    return line.lstrip("# ").strip() if line.startswith("#") else ""
