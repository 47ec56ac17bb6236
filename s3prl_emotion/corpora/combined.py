"""Several corpora as one, for training on some and testing on another, over canonical labels.

``parts=A,B,C`` leaves one corpus out at a time: fold k tests on the k-th. ``train=A,B`` and ``test=C`` make one fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._union import Folder, canonical_labels, names, read_parts, unite
from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import CorpusError

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
