"""The options of `run`, `prepare` and `sweep` that make audio of a corpus' audio, and what they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_emotion.config import read_yaml
from s3prl_emotion.errors import ConfigError, suggest

if TYPE_CHECKING:
    from s3prl_emotion.runs.plan import AudioDerivation

KEY = "augmentation"
"""The key of the file that ``--augmentation`` names, as in ``datarc``."""


def add_derivation_arguments(parser: argparse._ActionsContainer) -> None:
    """Cleaned recordings, and augmented copies of those that are trained on."""
    group = parser.add_argument_group("audio that is made of the corpus', once, into files")
    group.add_argument(
        "--preparation", metavar="NAME", help="clean every recording first: paper-d (noise reduction, no silence)"
    )
    group.add_argument(
        "--balance",
        metavar="N",
        help="train on N utterances of each class (or max, median, min), by leaving out and by augmented copies",
    )
    group.add_argument(
        "--augmentation", type=Path, metavar="YAML", help="effects of the copies, under the key augmentation"
    )
    group.add_argument(
        "--balance-seed", type=int, default=0, metavar="N", help="of what is left out and of the copies (%(default)s)"
    )
    group.add_argument("--audio-root", type=Path, metavar="DIR", help="where such files lie (default: result/audio)")


def derivation_of(args: argparse.Namespace) -> AudioDerivation:
    """What the command line asks for.

    Raises:
        ConfigError: naming the option, or file and key
    """
    from s3prl_emotion.protocols.balance import Balance, parse_size
    from s3prl_emotion.runs.plan import AUDIO_ROOT, AudioDerivation

    if args.balance is None:
        for flag, given in (("--augmentation", args.augmentation), ("--balance-seed", args.balance_seed or None)):
            if given is not None:
                raise ConfigError(
                    f"{flag} {given}: is for the copies of --balance, which is missing. To augment while training, use "
                    "the key datarc.augmentation of the configuration"
                )
        balance = None
    else:
        try:
            size = parse_size(args.balance)
        except ValueError as error:
            raise ConfigError(f"--balance: {error}") from None
        balance = Balance(size, args.balance_seed, _effects(args.augmentation))
    return AudioDerivation(args.preparation, balance, args.audio_root or AUDIO_ROOT)


def _effects(path: Path | None) -> tuple[dict[str, Any], ...] | None:
    if path is None:
        return None
    content = read_yaml(path)
    for key in content:
        if key != KEY:
            raise ConfigError(f"{path}: unknown key {key!r}. {suggest(str(key), (KEY,))}")
    listed = content.get(KEY)
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ConfigError(f"{path}: key {KEY!r}: expected a list of effects, each with keys and values")
    return tuple(listed)
