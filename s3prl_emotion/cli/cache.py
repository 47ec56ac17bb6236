"""``cache``: what hidden states are stored, whether they are what was stored, and deleting them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from s3prl_emotion.errors import ConfigError, RunError, suggest

if TYPE_CHECKING:
    from s3prl_emotion.features.management import StoreInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["ls", "verify", "clear"])
    parser.add_argument("name", nargs="*", help="stores to verify or delete, as `cache ls` names them; default: all")
    parser.add_argument(
        "--cache-root", type=Path, default=Path("result/cache"), metavar="DIR", help="default: %(default)s"
    )


def main(args: argparse.Namespace) -> int:
    """List, verify or delete stores; a store that a process is using stays."""
    from s3prl_emotion.features.extraction import human
    from s3prl_emotion.features.management import stores

    found = {info.name: info for info in stores(args.cache_root)}
    if args.action == "ls":
        for info in found.values():
            used = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.last_used))
            old = "  of an earlier version, not read any more" if info.is_old else ""
            print(f"{info.name:<56}{human(info.bytes):>10}{info.entries:>8} utterances  last used {used}{old}")
        print(f"{len(found)} stores, {human(sum(info.bytes for info in found.values()))} in {args.cache_root}")
        return 0
    for name in args.name:
        if name not in found:
            raise ConfigError(f"{name!r}: no such store in {args.cache_root}. {suggest(name, found)}")
    chosen = [found[name] for name in dict.fromkeys(args.name or found)]
    return _verify(chosen, args.cache_root) if args.action == "verify" else _clear(chosen, args.cache_root)


def _verify(chosen: list[StoreInfo], root: Path) -> int:
    from s3prl_emotion.features.management import verify

    status = 0
    for info in chosen:
        if info.is_old:
            print(f"{info.name}: of an earlier version, without checksums; it is not read any more, and can be cleared")
            continue
        try:
            count, damaged = verify(root / info.name)
        except FileNotFoundError:
            print(f"{info.name}: deleted meanwhile")
            continue
        except RunError as error:
            print(f"{info.name}: {error}")
            status = 2
            continue
        print(f"{info.name}: {count} entries, {len(damaged) or 'none'} damaged")
        for key in damaged:
            print(f"  utterance {key}: damaged; a run that needs its states computes them again")
        status = 2 if damaged else status
    return status


def _clear(chosen: list[StoreInfo], root: Path) -> int:
    from s3prl_emotion.features.extraction import human
    from s3prl_emotion.features.management import delete

    status = 0
    for info in chosen:
        if delete(root, info.name):
            print(f"deleted {info.name}, {human(info.bytes)}")
        else:
            print(f"{info.name} is in use: not deleted")
            status = 2
    return status
