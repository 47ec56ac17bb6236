"""``ls``: what can be named."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3prl_emotion.corpora import Corpus

KINDS = ("downstreams", "upstreams", "corpora", "protocols", "poolings", "shims")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS)


def main(args: argparse.Namespace) -> int:
    """Print one name per line, with a few words where there are some."""
    if args.kind == "upstreams":
        print(_upstreams())
        return 0
    width = 17 if args.kind == "corpora" else 28
    for name, words in _entries(args.kind):
        print(f"{name:<{width}}{words}" if words else name)
    return 0


def _entries(kind: str) -> list[tuple[str, str]]:
    if kind == "corpora":
        from s3prl_emotion.corpora import corpora

        return [(name, _corpus_facts(corpora.get(name))) for name in corpora.names()]
    if kind == "protocols":
        from s3prl_emotion.protocols import protocols

        return [(name, protocols.get(name).description) for name in protocols.names()]
    if kind == "poolings":
        from s3prl_emotion.pooling import poolings

        return [(name, (poolings.get(name).__doc__ or "").strip().splitlines()[0]) for name in poolings.names()]
    from s3prl_emotion.bridge import registration, shims

    if kind == "downstreams":
        return [(name, _first_comment(str(path))) for name, path in registration.downstream_configs().items()]
    return [(name, (getattr(shims, f"_{name}").__doc__ or "").strip().splitlines()[0]) for name in shims.apply()]


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


def _first_comment(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        line = file.readline()
    return line.lstrip("# ").strip() if line.startswith("#") else ""
