"""``ls``: what can be named."""

from __future__ import annotations

import argparse

KINDS = ("downstreams", "upstreams", "corpora", "protocols", "poolings", "shims")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS)


def main(args: argparse.Namespace) -> int:
    """Print one name per line, with a few words where there are some."""
    for name, words in _entries(args.kind):
        print(f"{name:<28}{words}" if words else name)
    return 0


def _entries(kind: str) -> list[tuple[str, str]]:
    if kind == "corpora":
        from s3prl_emotion.corpora import corpora

        entries = [(name, corpora.get(name)) for name in corpora.names()]
        return [
            (name, f"{entry.count or '?'} utterances, protocol {entry.default_protocol}") for name, entry in entries
        ]
    if kind == "protocols":
        from s3prl_emotion.protocols import protocols

        return [(name, protocols.get(name).description) for name in protocols.names()]
    if kind == "poolings":
        from s3prl_emotion.pooling import poolings

        return [(name, (poolings.get(name).__doc__ or "").strip().splitlines()[0]) for name in poolings.names()]
    from s3prl_emotion.bridge import registration, shims

    if kind == "downstreams":
        return [(name, _first_comment(str(path))) for name, path in registration.downstream_configs().items()]
    if kind == "shims":
        return [(name, (getattr(shims, f"_{name}").__doc__ or "").strip().splitlines()[0]) for name in shims.apply()]
    return [(name, "ours" if is_ours else "s3prl") for name, is_ours in registration.upstream_names().items()]


def _first_comment(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        line = file.readline()
    return line.lstrip("# ").strip() if line.startswith("#") else ""
