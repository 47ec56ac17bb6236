"""Several corpora as one: reads each, renames its labels canonically, and keeps ids and speakers apart by a prefix."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora.labels import canonical, renormalised
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import CorpusError, suggest

logger = logging.getLogger(__name__)

Folder = str | Path | None


def names(given: str | Sequence[str] | None, option: str, known: Iterable[str]) -> tuple[str, ...]:
    """Corpus names of an option, given with commas or as a list.

    Raises:
        CorpusError: if a name is unknown or appears twice
    """
    if given is None:
        return ()
    items = [item.strip() for item in (given.split(",") if isinstance(given, str) else given) if item.strip()]
    for item in items:
        if item not in known:
            raise CorpusError(f"option {option}: {item!r} is not a corpus that can be combined. {suggest(item, known)}")
        if items.count(item) > 1:
            raise CorpusError(f"option {option}: {item!r} is named twice")
    return tuple(items)


def read_parts(
    root: Path, parts: Iterable[str], folders: Mapping[str, Folder], entries: Mapping[str, Corpus] | None = None
) -> dict[str, Manifest]:
    """Read corpora, each from the folder given for it, or else from ``root/<name>``.

    Args:
        root: the folder of corpora
        parts: names of corpora
        folders: where a corpus is elsewhere
        entries: what to read a corpus with, if not as it is registered

    Raises:
        CorpusError: if a corpus is not there or cannot be read
    """
    manifests = {}
    for part in parts:
        folder = folders.get(part)
        place = root / part if folder is None else Path(folder).expanduser().absolute()
        if not place.exists():
            raise CorpusError(
                f"{place}: no such file or folder. Expected the corpus {part} there; "
                f"give its own with --corpus-option {part}=DIR"
            )
        manifests[part] = ((entries or {}).get(part) or corpora.get(part)).read(place)
    return manifests


def canonical_labels(manifest: Manifest) -> set[str]:
    """The canonical names of a corpus' classes."""
    return {canonical(label, manifest.corpus) for label in manifest.labels}


def unite(
    manifests: Mapping[str, Manifest],
    classes: Sequence[str],
    root: Path,
    rename: Callable[[str], str] = canonical,
) -> list[Utterance]:
    """The utterances of several corpora that belong to one of the classes, without folds.

    Args:
        manifests: corpora by name, in their order
        classes: canonical names; utterances of other labels are left out, and votes for them dropped
        root: the folder that paths start from where they lie below it; other paths are absolute
        rename: from a corpus' label to a canonical name
    """
    united = []
    for part, manifest in manifests.items():
        kept = [item for item in manifest.utterances if rename(item.label) in classes]
        if len(kept) < len(manifest.utterances):
            logger.info("%s: %d of %d utterances have one of the classes", part, len(kept), len(manifest.utterances))
        for item in kept:
            path = manifest.path_of(item)
            united.append(
                replace(
                    item,
                    id=f"{part}/{item.id}",
                    path=(path.relative_to(root) if path.is_relative_to(root) else path).as_posix(),
                    label=rename(item.label),
                    speaker=item.speaker and f"{part}/{item.speaker}",
                    fold=None,
                    corpus=part,
                    source=None if item.source is None else f"{part}/{item.source}",
                    soft=_renamed(item.soft, classes, rename),
                )
            )
    return united


def _renamed(
    soft: Mapping[str, float] | None, classes: Sequence[str], rename: Callable[[str], str]
) -> dict[str, float] | None:
    votes = dict.fromkeys(classes, 0.0)
    for label, rate in (soft or {}).items():
        if rename(label) in votes:
            votes[rename(label)] += rate
    return renormalised(votes, classes)
