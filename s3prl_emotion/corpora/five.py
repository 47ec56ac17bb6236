"""The seven-class corpus of arXiv 2312.11503: CREMA-D, SAVEE, TESS, IEMOCAP and RAVDESS together, without neutral.

``calm`` comes from RAVDESS alone. Of IEMOCAP, with its own labels, ``xxx``, ``neu``, ``oth`` and ``fru`` are left out,
and so is ``exc``, unless it is merged into happy. The paper's 13236 files (2955, 192, 1923, 1927, 2499, 2995 and 745 of
the classes in their order) are what its removal of silence and of clips under 1 s left; here nothing is removed, and
each corpus is checked against its own counts instead. Folds that share no speaker are made over all corpora together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._union import Folder, names, read_parts, unite
from s3prl_emotion.corpora.iemocap import IEMOCAP_LABELS
from s3prl_emotion.corpora.labels import canonical
from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import CorpusError

LABELS = ("angry", "calm", "disgust", "fearful", "happy", "sad", "surprised")
PARTS = ("cremad", "savee", "tess", "iemocap", "ravdess")
EXCITED = ("exclude", "happy")
NEUTRAL = "neutral"
NEUTRALS = ("exclude", "include")
FOLDS = ("speakers", "corpora")
NAME = "five"
PAPER = (2955, 192, 1923, 1927, 2499, 2995, 745)
"""What the paper has of each class after its preparation, 13236 files."""
LAYOUT = f"a folder with the subfolders {', '.join(PARTS)}"


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
    chosen = names(parts, "parts", PARTS) or PARTS
    given = {"cremad": cremad, "savee": savee, "tess": tess, "iemocap": iemocap, "ravdess": ravdess}
    ordered = [part for part in PARTS if part in chosen]
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
    name = NAME if len(ordered) == len(PARTS) else f"{NAME}_{'+'.join(ordered)}"
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
        layout=LAYOUT,
    )
)
