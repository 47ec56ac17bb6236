"""Checks and identity that all pretraining recipes share: corpus, split, folder, exclusions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.errors import ConfigError, ProtocolError, RunError
from s3prl_emotion.experiment.preparation import prepare
from s3prl_emotion.experiment.request import DEFAULT_SEED, Request, corpus_name
from s3prl_emotion.files import write_atomically
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.protocol import Protocol
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.record import differences, read_json
from s3prl_emotion.s3prl_runner.cache import CacheOptions

RECIPE_FILE = "recipe.json"
DEFAULT_ROOT = Path("result/pretraining")


@dataclass(frozen=True, kw_only=True)
class PretrainRequest:
    """What to pretrain, as far as recipes agree.

    Args:
        upstream: what to start from
        corpus: the name of the corpus that is divided; None where there is none
        data: its folder
        corpus_options: further options of the corpus' reader
        protocol: a protocol's name; None takes the corpus' default
        folds: the folds to work on; None takes all
        inductive: no stage hears what a fold tests on; None: unless the protocol is a transductive one
        folder: where everything goes; None: below ``root``, named by what is done
        root: see ``folder``
        seed: of everything random
        device: ``cuda`` or ``cpu``; None chooses
        demo: a demonstration, whose numbers say nothing
        skip_bad: leave out files that cannot be used
        trim_zeros: leave out digital zeros at both ends
        drop_leaks: leave out of train and dev what is in a later part
        cache_options: of the store of hidden states
    """

    upstream: str
    corpus: str | None = None
    data: Path | None = None
    corpus_options: Mapping[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    folds: tuple[int, ...] | None = None
    inductive: bool | None = None
    folder: Path | None = None
    root: Path = DEFAULT_ROOT
    seed: int = DEFAULT_SEED
    device: str | None = None
    demo: bool = False
    skip_bad: bool = False
    trim_zeros: bool = False
    drop_leaks: bool = False
    cache_options: CacheOptions = field(default_factory=CacheOptions)


def protocol_of(wanted: PretrainRequest, corpus: str) -> tuple[Protocol, bool]:
    """The protocol, and whether no stage hears what a fold tests on.

    Raises:
        ProtocolError: if test audio is to be heard, which the protocol does not allow
    """
    entry = corpora.get(corpus, "--corpus")
    protocol = protocols.get(wanted.protocol or entry.default_protocol, "--protocol")
    inductive = not protocol.transductive if wanted.inductive is None else wanted.inductive
    if not inductive and not protocol.transductive:
        raise ProtocolError(
            f"--no-inductive: protocol {protocol.name} does not allow pretraining to hear test audio; use --protocol "
            f"{protocol.name}-transductive, or leave it out"
        )
    return protocol, inductive


def run_name(wanted: PretrainRequest, corpus: str, protocol: Protocol, inductive: bool) -> str:
    """The end of a pretraining folder's name."""
    request = Request(s3prl={}, corpus=corpus, data=wanted.data, corpus_options=wanted.corpus_options)
    mode = "-inductive" if inductive and protocol.transductive else ""
    return f"{corpus_name(request)}-{protocol.name}{mode}{seed_name(wanted)}"


def seed_name(wanted: PretrainRequest) -> str:
    """What a folder's name says of the seed: nothing of the default."""
    return "" if wanted.seed == DEFAULT_SEED else f"-seed{wanted.seed}"


def identity_of(
    wanted: PretrainRequest, recipe: str, protocol: str | None, inductive: bool, **own: Any
) -> dict[str, Any]:
    """Everything that all stages of a run share, for ``recipe.json``.

    Args:
        wanted: the request
        recipe: its name
        protocol: its name; None where nothing is divided
        inductive: whether no stage hears what a fold tests on
        own: what this recipe adds; it comes first
    """
    content = {
        "recipe": recipe,
        **own,
        "corpus": {
            "name": wanted.corpus,
            "data": None if wanted.data is None else str(wanted.data.expanduser().absolute()),
            "options": dict(wanted.corpus_options),
        },
        "protocol": protocol,
        "inductive": inductive,
        "seed": wanted.seed,
        "skip_bad": wanted.skip_bad,
        "trim_zeros": wanted.trim_zeros,
        "drop_leaks": wanted.drop_leaks,
        "demo": wanted.demo,
        "cache": wanted.cache_options.dtype,
    }
    return dict(json.loads(json.dumps(content)))


def check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else.

    Raises:
        RunError: naming up to five differences
    """
    if not (folder / RECIPE_FILE).is_file():
        if folder.is_dir() and RunFolder(folder).is_begun:
            raise RunError(f"{folder}: is the folder of a run. Name another with -n or -p")
        return
    earlier = read_json(folder / RECIPE_FILE, "a pretraining folder")
    differing = [line for key in identity for line in differences(key, earlier.get(key), identity[key])]
    if differing:
        raise RunError(
            f"{folder} holds pretraining with other settings: {'; '.join(differing[:5])}. Name another folder with "
            "-n or -p, or remove this one"
        )


def claim_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write down what the folder is for: from now on its manifest and folds are believed."""
    write_atomically(folder / RECIPE_FILE, json.dumps(identity, indent=1) + "\n")


def division_of(wanted: PretrainRequest, corpus: str, protocol: str, folder: Path) -> tuple[Manifest, Folds]:
    """The corpus, checked, and its division: from the folder, if an earlier start left them there.

    Raises:
        EmotionError: if the corpus cannot be used, or a fold that is asked for is none of its own
    """
    place = RunFolder(folder)
    if all(path.is_file() for path in (folder / RECIPE_FILE, place.manifest, place.folds)):
        manifest, folds = place.division()
    else:
        manifest, folds = prepare(
            corpus,
            wanted.data,
            wanted.corpus_options,
            protocol,
            place,
            wanted.skip_bad,
            wanted.trim_zeros,
            wanted.drop_leaks,
        )
    known = tuple(fold.number for fold in folds.folds)
    for number in wanted.folds or ():
        if number not in known:
            raise ConfigError(f"--fold {number}: {corpus} has folds {', '.join(map(str, known))}")
    return manifest, folds


def excluded_ids(folds: Folds, fold: int) -> frozenset[str]:
    """The utterances that a fold's pretraining must not hear: its test part, and its dev part where the protocol keeps
    dev speakers apart from training."""
    division = folds[fold]
    dev = division.dev if protocols.get(folds.protocol).speaker_disjoint_dev else ()
    return frozenset({*division.test, *dev})


def pretraining_ids(folds: Folds, fold: int) -> frozenset[str]:
    """The utterances of a divided corpus that a fold's pretraining may hear: those of train and dev that are not
    :func:`excluded_ids`."""
    return frozenset({*folds[fold].train, *folds[fold].dev}) - excluded_ids(folds, fold)
