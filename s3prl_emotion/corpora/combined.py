"""Several corpora as one, and the five corpora of arXiv 2312.11503."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora.iemocap import IEMOCAP_LABELS
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


# Several corpora as one, for training on some and testing on another, over canonical labels.
#
# ``parts=A,B,C`` leaves one corpus out at a time: fold k tests on the k-th. ``train=A,B`` and ``test=C`` make one
# fold.

PARTS = ("cremad", "demo", "emodb", "emodb4", "iemocap", "ravdess", "savee", "table", "tess")
"""The corpora that can be combined."""
LABEL_SETS = ("intersection", "union")
LAYOUT = "a folder with one subfolder per corpus, named like it (cremad, ravdess, ...), and the option parts=A,B"


def read_combined(
    root: Path,
    parts: str | Sequence[str] | None = None,
    train: str | Sequence[str] | None = None,
    test: str | Sequence[str] | None = None,
    labels: str = "intersection",
    *,
    cremad: Folder = None,
    demo: Folder = None,
    emodb: Folder = None,
    emodb4: Folder = None,
    iemocap: Folder = None,
    ravdess: Folder = None,
    savee: Folder = None,
    table: Folder = None,
    tess: Folder = None,
) -> Manifest:
    """Read several corpora as one.

    Args:
        root: the folder with one subfolder per corpus
        parts: the corpora, with commas or as a list; fold k tests on the k-th and trains on the others
        train: instead of ``parts``, the corpora to train on
        test: with ``train``, the corpora to test on, as fold 1
        labels: ``intersection``, the classes that all have, or ``union``, all classes of any
        cremad: where this corpus is, if not in its subfolder; the same for every other

    Returns:
        a manifest ``combined_A+B`` or ``combined_A+B-to-C``: corpora in the order given, each in its own. Ids and
        speakers are ``<corpus>/<its own>``, labels are canonical names, sorted; votes are renamed, those for lost
        classes dropped and the rest made to sum to 1

    Raises:
        CorpusError: if an option is wrong, a corpus cannot be read, a label has no canonical name, or fewer than two
            classes are shared
    """
    given = {"cremad": cremad, "demo": demo, "emodb": emodb, "emodb4": emodb4, "iemocap": iemocap}
    given |= {"ravdess": ravdess, "savee": savee, "table": table, "tess": tess}
    chosen, to_train, to_test = (
        names(value, option, PARTS) for option, value in (("parts", parts), ("train", train), ("test", test))
    )
    if bool(chosen) == bool(to_train or to_test) or bool(to_train) != bool(to_test) or len(chosen) == 1:
        raise CorpusError(
            "combined: expected the option parts=A,B with two corpora or more, or train=A,B together with test=C; "
            f"found parts {parts!r}, train {train!r}, test {test!r}"
        )
    twice = sorted(set(to_train) & set(to_test))
    if twice:
        raise CorpusError(f"combined: {twice[0]} is both in train and in test")
    cited: dict[str, str] = {}
    for part in chosen or (*to_train, *to_test):
        other = cited.setdefault(corpora.get(part).citation, part)
        if other != part:
            raise CorpusError(f"combined: {other} and {part} are the same recordings. Take one of them")
    if labels not in LABEL_SETS:
        raise CorpusError(f"combined: option labels: expected {' or '.join(LABEL_SETS)}, found {labels!r}")
    manifests = read_parts(root, chosen or (*to_train, *to_test), given)
    sets = [canonical_labels(manifest) for manifest in manifests.values()]
    classes = tuple(sorted(set.intersection(*sets) if labels == "intersection" else set.union(*sets)))
    if len(classes) < 2:
        listed = "; ".join(f"{part}: {', '.join(sorted(found))}" for part, found in zip(manifests, sets, strict=True))
        raise CorpusError(f"combined: fewer than two classes in common ({listed}). Use labels=union or other corpora")
    fold_of: dict[str | None, int] = {part: number for number, part in enumerate(chosen, start=1)}
    fold_of |= dict.fromkeys(to_test, 1)
    items = tuple(replace(item, fold=fold_of.get(item.corpus)) for item in unite(manifests, classes, root))
    order = {1: tuple(item.id for item in items if item.corpus in to_train)} if to_train else {}
    name = "+".join(chosen) or f"{'+'.join(to_train)}-to-{'+'.join(to_test)}"
    return Manifest(f"combined_{name}", classes, root.as_posix(), items, order)


corpora.register("combined")(
    Corpus(
        name="combined",
        reader=read_combined,
        labels=(),
        licence="those of the corpora",
        citation="those of the corpora",
        source="the user's own copies of the corpora",
        layout=LAYOUT,
        default_protocol="cross",
    )
)


# The seven-class corpus of arXiv 2312.11503: CREMA-D, SAVEE, TESS, IEMOCAP and RAVDESS together, without neutral.
#
# ``calm`` comes from RAVDESS alone. Of IEMOCAP, with its own labels, ``xxx``, ``neu``, ``oth`` and ``fru`` are left
# out, and so is ``exc``, unless it is merged into happy. The paper's 13236 files (2955, 192, 1923, 1927, 2499, 2995 and
# 745 of the classes in their order) are what its removal of silence and of clips under 1 s left; here nothing is
# removed, and each corpus is checked against its own counts instead. Folds that share no speaker are made over all
# corpora together.

LABELS = ("angry", "calm", "disgust", "fearful", "happy", "sad", "surprised")
FIVE_PARTS = ("cremad", "savee", "tess", "iemocap", "ravdess")
EXCITED = ("exclude", "happy")
NEUTRAL = "neutral"
NEUTRALS = ("exclude", "include")
FOLDS = ("speakers", "corpora")
NAME = "five"
PAPER = (2955, 192, 1923, 1927, 2499, 2995, 745)
"""What the paper has of each class after its preparation, 13236 files."""
FIVE_LAYOUT = f"a folder with the subfolders {', '.join(FIVE_PARTS)}"


def read_five(
    root: Path,
    parts: str | Sequence[str] | None = None,
    exc: str = "exclude",
    neutral: str = "exclude",
    folds: str = "speakers",
    *,
    cremad: Folder = None,
    savee: Folder = None,
    tess: Folder = None,
    iemocap: Folder = None,
    ravdess: Folder = None,
) -> Manifest:
    """Read the five corpora, or some of them, as one with seven classes.

    Args:
        root: the folder with one subfolder per corpus
        parts: some of the corpora, with commas or as a list, to see what each adds; all if not given
        exc: IEMOCAP's label excited: ``exclude``, as in the paper, or ``happy`` to merge it
        neutral: ``exclude``, as in the paper, or ``include`` as the last class
        folds: ``speakers``: none are given, so that protocols make theirs; ``corpora``: fold k is the k-th corpus,
            which protocol ``cross`` leaves out of training; classes of one corpus alone are left out then
        cremad: where this corpus is, if not in its subfolder; the same for every other

    Returns:
        a manifest ``five``, or named after its parts: corpora in the order of the paper; the classes in its order,
        without those that no part has

    Raises:
        CorpusError: if an option is wrong or a corpus cannot be read
    """
    for option, value, known in (("exc", exc, EXCITED), ("neutral", neutral, NEUTRALS), ("folds", folds, FOLDS)):
        if value not in known:
            raise CorpusError(f"five: option {option}: expected {' or '.join(known)}, found {value!r}")
    classes = (*LABELS, NEUTRAL) if neutral == "include" else LABELS
    chosen = names(parts, "parts", FIVE_PARTS) or FIVE_PARTS
    given = {"cremad": cremad, "savee": savee, "tess": tess, "iemocap": iemocap, "ravdess": ravdess}
    ordered = [part for part in FIVE_PARTS if part in chosen]
    manifests = read_parts(root, ordered, given, {"iemocap": IEMOCAP_LABELS})

    def rename(label: str) -> str:
        if label == "xxx":  # IEMOCAP's annotators disagree
            return label
        name = canonical(label)
        return "happy" if name == "excited" and exc == "happy" else name

    items = tuple(unite(manifests, classes, root, rename))
    if folds == "corpora":
        parts_of = {label: {item.corpus for item in items if item.label == label} for label in classes}
        items = tuple(item for item in items if len(parts_of[item.label]) > 1)
        items = tuple(replace(item, fold=ordered.index(str(item.corpus)) + 1) for item in items)
    found = {item.label for item in items}
    name = NAME if len(ordered) == len(FIVE_PARTS) else f"{NAME}_{'+'.join(ordered)}"
    name += "_with_excited" if exc == "happy" else ""
    name += "_with_neutral" if neutral == "include" else ""
    name += "_by_corpus" if folds == "corpora" else ""
    return Manifest(name, tuple(label for label in classes if label in found), root.as_posix(), items)


def beside_paper(counts: Mapping[str, int]) -> str:
    """How many of each class there are beside how many the paper has, in one line."""
    paper = dict(zip(LABELS, PAPER, strict=True))
    differing = [f"{label} {counts.get(label, 0)} of {paper[label]}" for label in LABELS]
    return f"arXiv 2312.11503 has {sum(PAPER)}, here {sum(counts.values())} ({', '.join(differing)})"


corpora.register("five")(
    Corpus(
        name="five",
        reader=read_five,
        labels=LABELS,
        licence="those of the five corpora",
        citation="arXiv 2312.11503, 2023, and those of the five corpora",
        source="the user's own copies of the five corpora",
        layout=FIVE_LAYOUT,
    )
)
