"""``cache``: what hidden states are stored, and deleting them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from s3prl_emotion.errors import ConfigError, nearest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["ls", "clear"])
    parser.add_argument("name", nargs="*", help="stores to delete, as `cache ls` names them; none deletes all")
    parser.add_argument(
        "--cache-root", type=Path, default=Path("result/cache"), metavar="DIR", help="default: %(default)s"
    )


def main(args: argparse.Namespace) -> int:
    """List or delete stores; a store that a process is using stays."""
    from s3prl_emotion.features.extraction import human
    from s3prl_emotion.features.store import delete, stores

    found = {info.name: info for info in stores(args.cache_root)}
    if args.action == "ls":
        for info in found.values():
            used = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.last_used))
            print(f"{info.name:<56}{human(info.bytes):>10}{info.entries:>8} utterances  last used {used}")
        print(f"{len(found)} stores, {human(sum(info.bytes for info in found.values()))} in {args.cache_root}")
        return 0
    for name in args.name:
        if name not in found:
            raise ConfigError(f"{name!r}: no such store in {args.cache_root}. {nearest(name, found)}")
    status = 0
    for name in args.name or found:
        if delete(args.cache_root, name):
            print(f"deleted {name}, {human(found[name].bytes)}")
        else:
            print(f"{name} is in use: not deleted")
            status = 2
    return status
