"""From a manifest and a protocol to folds of utterance ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.files import write_atomically
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols._checks import check_fold
from s3prl_emotion.protocols.protocol import Protocol, Training

SCHEMA = 1
MAX_FOLDS = 5
"""Folds made for a corpus that brings none."""


@dataclass(frozen=True)
class Fold:
    """The utterance ids of one fold. The order of ``train`` is part of the protocol."""

    number: int
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Folds:
    """All folds of a corpus under a protocol, sorted by number."""

    protocol: str
    folds: tuple[Fold, ...]

    def __getitem__(self, number: int) -> Fold:
        """The fold with this number.

        Raises:
            ProtocolError: if there is none
        """
        for fold in self.folds:
            if fold.number == number:
                return fold
        raise ProtocolError(f"no fold {number}. Known: {', '.join(str(fold.number) for fold in self.folds)}")

    def sha256(self) -> str:
        """Fingerprint of the protocol's name and of all ids in their order."""
        content = [self.protocol, [[fold.number, fold.train, fold.dev, fold.test] for fold in self.folds]]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("utf-8")).hexdigest()

    def write(self, path: str | Path) -> None:
        """Write the folds as JSON, atomically."""
        content = {
            "schema": SCHEMA,
            "protocol": self.protocol,
            "sha256": self.sha256(),
            "folds": [asdict(fold) for fold in self.folds],
        }
        write_atomically(path, json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Folds:
        """Read folds that :meth:`write` wrote.

        Raises:
            ProtocolError: naming the file, if it is missing, not such a file, or was changed by hand
        """
        path = Path(path)
        if not path.is_file():
            raise ProtocolError(f"{path}: no such folds. Make them with the command `prepare`")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ProtocolError(f"{path}: key 'schema': this version reads {SCHEMA}, found {content['schema']}")
            folds = tuple(
                Fold(int(item["number"]), tuple(item["train"]), tuple(item["dev"]), tuple(item["test"]))
                for item in content["folds"]
            )
            result = cls(str(content["protocol"]), folds)
            written = content["sha256"]
        except KeyError as error:
            raise ProtocolError(f"{path}: key {error} is missing") from error
        except (ValueError, TypeError) as error:
            raise ProtocolError(f"{path}: not a file of folds: {error}") from error
        if result.sha256() != written:
            raise ProtocolError(f"{path}: the folds were changed after they were written. Make them again")
        return result


def make_folds(manifest: Manifest, protocol: Protocol | str) -> Folds:
    """Divide a corpus.

    The folds are those of the manifest. A manifest without any gets up to five speaker-disjoint ones. Where the
    manifest prescribes training lists, each fold's train and dev come from its list, in its order.

    Args:
        manifest: the corpus
        protocol: a protocol or its name

    Raises:
        ProtocolError: if the corpus cannot be divided so, or the division breaks a rule (see :func:`check_fold`)
    """
    if isinstance(protocol, str):
        protocol = protocols.get(protocol)
    if len(manifest.labels) < 2:
        raise ProtocolError(f"{manifest.corpus}: one class only ({manifest.labels[0]}): nothing to tell apart")
    tests = _test_sets(manifest)
    test_speakers = {number: frozenset(item.speaker for item in test) for number, test in tests.items()}
    folds = []
    for number, test in tests.items():
        tested = {item.id for item in test}
        if number in manifest.train_order:
            training = tuple(manifest.by_id[name] for name in manifest.train_order[number])
        else:
            training = tuple(item for item in manifest.utterances if item.id not in tested)
        train, dev = protocol.divide(Training(number, training, test_speakers))
        fold = Fold(number, train, dev, tuple(item.id for item in test))
        check_fold(manifest, protocol, number, {"train": fold.train, "dev": fold.dev, "test": fold.test})
        folds.append(fold)
    return Folds(protocol.name, tuple(folds))


def folds_by_speaker(utterances: Sequence[Utterance], corpus: str) -> list[int]:
    """A fold number, from 1, for every utterance: up to five folds that share no speaker, with similar class rates.

    Deterministic: scikit-learn's ``StratifiedGroupKFold`` without shuffling, or ``GroupKFold`` where the former
    would leave a fold empty.

    Raises:
        ProtocolError: if there are fewer than two speakers
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    speakers = [item.speaker for item in utterances]
    labels = [item.label for item in utterances]
    count = min(MAX_FOLDS, len(set(speakers)))
    if count < 2:
        found = ", ".join(sorted(set(speakers))) or "none"
        raise ProtocolError(f"{corpus}: speaker-disjoint folds need at least 2 speakers, found {found}")
    makers = [GroupKFold(count)]
    if count <= max(labels.count(label) for label in set(labels)):
        makers.insert(0, StratifiedGroupKFold(count))
    for maker in makers:
        numbers = [0] * len(utterances)
        for number, (_, test) in enumerate(maker.split(labels, labels, speakers), start=1):
            for index in test:
                numbers[index] = number
        if set(numbers) == set(range(1, count + 1)):
            break
    return numbers


def _test_sets(manifest: Manifest) -> dict[int, list[Utterance]]:
    """The utterances that each fold tests on, by fold number."""
    numbers = [item.fold for item in manifest.utterances]
    without = [item.id for item in manifest.utterances if item.fold is None]
    if len(without) == len(numbers):
        numbers = list(folds_by_speaker(manifest.utterances, manifest.corpus))
    elif without and not manifest.train_order:
        raise ProtocolError(
            f"{manifest.corpus}: {len(without)} of {len(numbers)} utterances have no fold, first {without[0]!r}. "
            "Give all of them a fold, or none"
        )
    tests: dict[int, list[Utterance]] = {}
    for item, number in zip(manifest.utterances, numbers, strict=True):
        if number is not None:
            tests.setdefault(number, []).append(item)
    if len(tests) < 2 and not manifest.train_order:
        raise ProtocolError(f"{manifest.corpus}: at least 2 folds are needed, found {len(tests)}")
    folds_of: dict[str, set[int]] = {}
    for number, items in tests.items():
        for item in items:
            folds_of.setdefault(item.speaker, set()).add(number)
    divided = sorted(speaker for speaker, found in folds_of.items() if len(found) > 1)
    if divided:
        raise ProtocolError(
            f"{manifest.corpus}: {len(divided)} speakers are in several folds, such as {divided[0]} in "
            f"{', '.join(map(str, sorted(folds_of[divided[0]])))}. Give every speaker's utterances one fold number"
        )
    return dict(sorted(tests.items()))
