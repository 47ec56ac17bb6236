"""The order in which S3PRL's own metadata list a corpus, which its division into train and dev starts from."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.corpora.superb_metadata import read_superb_metadata
from s3prl_emotion.errors import CorpusError


def installed_metadata() -> Path | None:
    """The ``meta_data`` folder of the installed S3PRL's emotion task; None where it has none, as its wheels do."""
    spec = importlib.util.find_spec("s3prl")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / "downstream" / "emotion" / "meta_data"
        if any(folder.glob("Session*/train_meta_data.json")):
            return folder
    return None


def in_order_of(manifest: Manifest, folder: Path) -> Manifest:
    """The same utterances and speakers, with test and training lists and class indices as in S3PRL's metadata.

    Args:
        manifest: the corpus, with a fold for every utterance
        folder: ``meta_data``, with ``Session<k>/{train,test}_meta_data.json``

    Raises:
        CorpusError: if the metadata cannot be read, or do not list exactly these utterances with these labels and folds
    """
    listed = read_superb_metadata(Path(manifest.root), folder)
    here, there = set(manifest.by_id), set(listed.by_id)
    if here != there:
        only = [
            f"{len(names)} of them are {where} only, first {min(names)!r}"
            for names, where in ((here - there, "in the corpus"), (there - here, "in the metadata"))
            if names
        ]
        raise CorpusError(f"{folder}: lists other utterances than {manifest.root} has: {'; '.join(only)}")
    if set(listed.labels) != set(manifest.labels):
        found = ", ".join(listed.labels)
        raise CorpusError(f"{folder}: has the classes {found}, expected {', '.join(manifest.labels)}")
    for item in listed.utterances:
        own = manifest.by_id[item.id]
        if (item.label, item.fold) != (own.label, own.fold):
            raise CorpusError(
                f"{folder}: {item.id!r} has label {item.label!r} and is tested in fold {item.fold}, in the corpus "
                f"label {own.label!r} and fold {own.fold}"
            )
    for fold, names in listed.train_order.items():
        wanted = {item.id for item in manifest.utterances if item.fold != fold}
        if set(names) != wanted:
            raise CorpusError(
                f"{folder}: Session{fold} trains on {len(names)} utterances, expected {len(wanted)} others"
            )
    ordered = tuple(manifest.by_id[item.id] for item in listed.utterances)
    return dataclasses.replace(manifest, labels=listed.labels, utterances=ordered, train_order=listed.train_order)
