"""From a manifest and a protocol to folds of utterance ids."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.corpora.spelling import doubt, doubtful
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.files import parse_json, write_atomically
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols._checks import check_fold, classes_absent
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool

logger = logging.getLogger(__name__)

SCHEMA = 1


@dataclass(frozen=True)
class Fold:
    """The utterance ids of one fold. The order of ``train`` is part of the protocol."""

    number: int
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Lack:
    """Classes that no utterance of a part of a fold has: no speaker-disjoint division, or not this one, gives them."""

    fold: int
    part: str  # train, dev or test
    classes: tuple[str, ...]

    def __str__(self) -> str:
        return f"fold {self.fold}: {self.part} has no {', '.join(self.classes)}"


@dataclass(frozen=True)
class Folds:
    """All folds of a corpus under a protocol, sorted by number."""

    protocol: str
    folds: tuple[Fold, ...]
    lacking: tuple[Lack, ...] = ()
    divided_sha256: str | None = None  # of the division before its training parts were balanced, if they were
    manifest_sha256: str | None = field(default=None, compare=False)  # of the corpus, where the folds come from a file

    @classmethod
    def of(cls, manifest: Manifest, protocol: str, folds: Sequence[Fold]) -> Folds:
        """Folds with what their parts lack."""
        found = [
            Lack(fold.number, part, tuple(absent))
            for fold in folds
            for part in ("train", "dev", "test")
            if (absent := classes_absent(manifest, getattr(fold, part)))
        ]
        return cls(protocol, tuple(folds), tuple(found))

    def __getitem__(self, number: int) -> Fold:
        """The fold with this number.

        Raises:
            ProtocolError: if there is none
        """
        for fold in self.folds:
            if fold.number == number:
                return fold
        raise ProtocolError(f"no fold {number}. Known: {', '.join(str(fold.number) for fold in self.folds)}")

    def check_of(self, manifest: Manifest) -> None:
        """Refuse folds of another corpus.

        Raises:
            ProtocolError: naming the first utterance that the manifest lacks
        """
        named = dict.fromkeys(name for fold in self.folds for name in (*fold.train, *fold.dev, *fold.test))
        strange = [name for name in named if name not in manifest.by_id]
        if strange:
            raise ProtocolError(
                f"the folds name {len(strange)} of {len(named)} utterances that the manifest of {manifest.corpus} "
                f"lacks, first {strange[0]!r}: one of the two was edited, made again, or is another run's. Restore "
                "it, or make both with the command `prepare`"
            )

    def sha256(self) -> str:
        """Fingerprint of the protocol's name, of all ids in their order, and of the division before balancing."""
        content = [self.protocol, [[fold.number, fold.train, fold.dev, fold.test] for fold in self.folds]]
        if self.divided_sha256 is not None:
            content.append(self.divided_sha256)
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("utf-8")).hexdigest()

    def write(self, path: str | Path) -> None:
        """Write the folds as JSON, atomically."""
        content = {
            "schema": SCHEMA,
            "protocol": self.protocol,
            "sha256": self.sha256(),
            **({"lacking": [asdict(item) for item in self.lacking]} if self.lacking else {}),
            **({"divided_sha256": self.divided_sha256} if self.divided_sha256 else {}),
            **({"manifest_sha256": self.manifest_sha256} if self.manifest_sha256 else {}),
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
            content = parse_json(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ProtocolError(f"{path}: key 'schema': this version reads {SCHEMA}, found {content['schema']}")
            folds = tuple(
                Fold(int(item["number"]), tuple(item["train"]), tuple(item["dev"]), tuple(item["test"]))
                for item in content["folds"]
            )
            lacking = tuple(
                Lack(int(item["fold"]), str(item["part"]), tuple(item["classes"]))
                for item in content.get("lacking", ())
            )
            before, of = (
                None if content.get(key) is None else str(content[key]) for key in ("divided_sha256", "manifest_sha256")
            )
            result = cls(str(content["protocol"]), folds, lacking, before, of)
            written = content["sha256"]
        except KeyError as error:
            raise ProtocolError(f"{path}: key {error} is missing") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise ProtocolError(f"{path}: not a file of folds: {error}") from error
        if result.sha256() != written:
            raise ProtocolError(f"{path}: the folds were changed after they were written. Make them again")
        return result


def make_folds(manifest: Manifest, protocol: Protocol | str) -> Folds:
    """Divide a corpus.

    The protocol makes the test sets and divides what is left. Where the manifest prescribes training lists, each fold's
    train and dev come from its list, in its order; a protocol that makes test sets of its own ignores those lists.

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
    folds = []
    for fold in divide_unchecked(manifest, protocol):
        check_fold(manifest, protocol, fold.number, {"train": fold.train, "dev": fold.dev, "test": fold.test})
        folds.append(fold)
    return Folds.of(manifest, protocol.name, folds)


def divide_unchecked(manifest: Manifest, protocol: Protocol) -> Iterator[Fold]:
    """The folds as the protocol makes them; what they share is not looked at.

    Where speakers are kept apart, utterances of unknown speakers are in no part: in train they could be a test
    speaker's. They train in every fold where the corpus says that they are strangers to those who are known.

    Raises:
        ProtocolError: if the corpus cannot be divided so
    """
    check_divisible(manifest, protocol)
    whole, strangers = manifest, tuple[Utterance, ...]()
    if protocol.needs_speakers and manifest.nameless:
        strangers = _strangers(manifest, protocol)
        manifest = manifest.with_utterances(item for item in manifest.utterances if item.speaker)
    tests = protocol.test_sets(manifest)
    test_speakers = {number: frozenset(item.speaker for item in test) for number, test in tests.items()}
    for number, test in tests.items():
        tested = {item.id for item in test}
        listed = manifest.train_order.get(number) if protocol.follows_lists else None
        given_dev = manifest.dev_order.get(number, ()) if protocol.follows_lists else ()
        training = (
            tuple(item for item in manifest.utterances if item.id not in tested)
            if listed is None
            else tuple(manifest.by_id[name] for name in listed)
        )
        part = TrainingPool(
            number, training, test_speakers, tuple(test), tuple(manifest.by_id[name] for name in given_dev)
        )
        train, dev = protocol.divide(part)
        if strangers:
            train += _trainable(whole, strangers, number, protocol.follows_lists)
        yield Fold(number, train, dev, tuple(item.id for item in test))


def check_divisible(manifest: Manifest, protocol: Protocol) -> None:
    """Refuse what no division mends, before any audio is decoded.

    Raises:
        ProtocolError: if speakers are to be kept apart and none is known, or names may be one person's
    """
    if not protocol.needs_speakers:
        return
    total = len(manifest.utterances)
    if total and manifest.nameless == total:
        raise ProtocolError(
            f"{manifest.corpus}: the speakers of {total} of {total} utterances are not known, so protocol "
            f"{protocol.name} cannot keep speakers apart. Use published, official or paper-d, which do not"
        )
    groups = [] if "distinct" in manifest.speakers_are else doubtful(manifest.speakers)
    if groups:
        raise ProtocolError(
            f"{manifest.corpus}: protocol {protocol.name} keeps speakers apart, and there are {doubt(manifest, groups)}"
        )


def _trainable(manifest: Manifest, strangers: Sequence[Utterance], number: int, follows_lists: bool) -> tuple[str, ...]:
    """Of strangers those that the corpus does not have a fold test or select on, and that are in its training list."""
    held_out: set[str] = set()
    listed: Collection[str] = manifest.by_id
    if follows_lists:
        listed = set(manifest.train_order.get(number, listed))
        held_out = set(manifest.dev_order.get(number, ()))
    return tuple(item.id for item in strangers if item.fold != number and item.id in listed and item.id not in held_out)


def _strangers(manifest: Manifest, protocol: Protocol) -> tuple[Utterance, ...]:
    """Unknown speakers' utterances that train; says what becomes of such utterances."""
    unknown = tuple(item for item in manifest.utterances if not item.speaker)
    train = "strangers" in manifest.speakers_are
    use = (
        "train, since they are strangers to the others (speakers=strangers), and neither select nor test"
        if train
        else "are left out of train, dev and test, since they could be anybody's (--corpus-option speakers=strangers "
        "trains on them, if none of them is one of the known speakers)"
    )
    logger.warning(
        "%s, protocol %s: %d of %d utterances, whose speakers are unknown, %s",
        manifest.corpus,
        protocol.name,
        len(unknown),
        len(manifest.utterances),
        use,
    )
    return unknown if train else ()
