"""Leak audit: speakers, audio, augmented siblings and pretraining data that train, dev and test share.

A leak that the protocol does not declare is refused before anything is trained; what it declares is shown. Sentences in
common are reported, never refused: acted corpora have every speaker say the same ones by design.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, combinations_with_replacement
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.corpora.spelling import likely
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.files import parse_json, write_atomically
from s3prl_emotion.protocols._parts import FoldPart, PretrainingPart, voices
from s3prl_emotion.protocols.behaviour import declared
from s3prl_emotion.protocols.matching import UtteranceKeys, facts
from s3prl_emotion.protocols.protocol import Protocol
from s3prl_emotion.protocols.split import Folds

LEAK = "leak"
DECLARED = "declared"
REPORTED = "reported"
UNKNOWN_SPEAKER = "unknown speaker"
SIBLING = "sibling"
VOICE = "voice"
RULES = 3
"""Of what is looked for; an audit by other rules is made again."""
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """Something that two parts of a fold share.

    ``kind`` is one of ``utterance``, ``speaker``, ``speaker spelling`` (names that may be one person's,
    :mod:`s3prl_emotion.corpora.spelling`), ``unknown speaker`` (nobody knows who speaks, so what is shared), ``voice``
    (one recording under two speakers, one of whom is in each part, which may be the same), ``audio`` (the same
    waveform under two ids), ``segment`` (overlapping stretches of one file), ``sibling`` (made from one recording by
    augmentation), ``sentence``, ``pretraining``, ``pretraining labels`` (heard with their labels) and ``pretraining
    speaker``. ``status`` is ``leak``, ``declared`` (the protocol allows it) or ``reported`` (no leak).
    """

    fold: int
    kind: str
    between: tuple[str, str]
    status: str
    count: int  # how many are shared: utterances of the second part, or speakers
    of: int  # how many the second part has
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) >= _SHOWN else ""
        first, second = self.between
        if self.kind == UNKNOWN_SPEAKER:
            return (
                f"fold {self.fold}: {self.kind}: whether {first} and {second} share speakers cannot be told: of "
                f"{self.count} of {second}'s {self.of} utterances, or of what they are compared with, they are unknown"
            )
        if self.kind == VOICE:
            return (
                f"fold {self.fold}: {self.kind}: {self.count} of {second}'s {self.of} speakers have a recording in "
                f"common with another of {first}, and the two may be one person: {', '.join(self.examples)}{more}"
            )
        return (
            f"fold {self.fold}: {self.kind}: {first} and {second} share {self.count} of {second}'s {self.of} "
            f"({', '.join(self.examples)}{more})"
        )


@dataclass(frozen=True)
class PretrainingData:
    """Where the manifest of what an upstream heard in pretraining lies."""

    path: Path
    fold: int | None = None  # of the one fold that it is used for; None: of all
    labelled: bool = False  # with emotion labels, which no protocol allows of test audio

    def read(self) -> Pretraining:
        """The manifest itself."""
        return Pretraining(str(self.path), Manifest.read(self.path), self.fold, self.labelled)


@dataclass(frozen=True)
class Pretraining:
    """What an upstream heard in pretraining."""

    name: str  # for messages
    manifest: Manifest
    fold: int | None = None  # as in PretrainingData
    labelled: bool = False


def audit(
    manifest: Manifest,
    folds: Folds,
    protocol: Protocol,
    pretraining: Sequence[Pretraining] = (),
) -> list[Finding]:
    """Look for overlap in every fold.

    Audio is compared by the waveform's fingerprint without digital zeros at its ends, which ``prepare`` fills in: the
    same samples in another file, format or padding are found. Copies with other samples (resampled, louder, compressed,
    cut) are found only where ``source`` names what they were made from.

    Args:
        manifest: the corpus, checked
        folds: its division
        protocol: what the division may share
        pretraining: what the upstream heard in pretraining, for all folds or for one

    Raises:
        ProtocolError: if the folds are another corpus', or a pretraining manifest has utterances without ``content``
    """
    for data in pretraining:
        unchecked = [item.id for item in data.manifest.utterances if item.content is None]
        if unchecked:
            raise ProtocolError(
                f"{data.name}: {len(unchecked)} utterances have no 'content', first {unchecked[0]!r}: nothing to "
                "compare audio by. Make the manifest with the command `prepare`, which fills it in"
            )
    folds.check_of(manifest)
    known = facts(manifest)
    pairs = voices(known.values())
    heard = [(data, PretrainingPart.of(data.manifest)) for data in pretraining]
    found: list[Finding] = []
    for fold in folds.folds:
        parts = {part: FoldPart.of(known[name] for name in getattr(fold, part)) for part in ("train", "dev", "test")}
        for first, second in combinations(parts, 2):
            found += _between(fold.number, protocol, (first, second), parts[first], parts[second])
        for first, second in combinations_with_replacement(parts, 2):
            found += _voices(fold.number, (first, second), parts[first], parts[second], pairs)
        for data, sounds in heard:
            if data.fold in (None, fold.number):
                found += _pretraining(fold.number, protocol, data, sounds, parts["test"])
    return found


def _between(number: int, protocol: Protocol, names: tuple[str, str], one: FoldPart, two: FoldPart) -> list[Finding]:
    is_test = names[1] == "test"
    same_set = protocol.selection_on_test and names == ("dev", "test")
    siblings = DECLARED if protocol.siblings_in_dev and names == ("train", "dev") else LEAK
    shares_speakers = not (protocol.speaker_disjoint_test if is_test else protocol.speaker_disjoint_dev)
    spelled = {likely(speaker): speaker for speaker in sorted(one.speakers)}
    others = [item for item in two.items if item.id not in one.ids]
    unknown = [item.id for item in two.items if not item.speaker]
    nameless = bool(unknown) or any(not item.speaker for item in one.items)

    def finding(kind: str, status: str, shared: Iterable[str], of: int = len(two.items)) -> list[Finding]:
        listed = list(shared)
        return [Finding(number, kind, names, status, len(listed), of, tuple(listed[:_SHOWN]))] if listed else []

    return [
        *finding("utterance", DECLARED if same_set else LEAK, (item.id for item in two.items if item.id in one.ids)),
        *finding(
            "speaker",
            DECLARED if same_set or shares_speakers else LEAK,
            sorted(one.speakers & two.speakers),
            len(two.speakers),
        ),
        *finding(UNKNOWN_SPEAKER, REPORTED, (unknown or [item.id for item in two.items]) if nameless else ()),
        *finding(
            "audio",
            LEAK,
            (f"{one.sounds[item.sound]} = {item.id}" for item in others if item.sound and item.sound in one.sounds),
        ),
        *finding(
            "segment",
            LEAK,
            (f"{other} overlaps {item.id}" for item in others if (other := one.stretches.overlapping(item))),
        ),
        *finding(
            "speaker spelling",
            REPORTED,
            (
                f"{spelled[likely(name)]} and {name}"
                for name in sorted(two.speakers - one.speakers)
                if likely(name) in spelled
            ),
            len(two.speakers),
        ),
        *finding(
            SIBLING, siblings, (f"{one.roots[item.root]} and {item.id}" for item in others if item.root in one.roots)
        ),
        *finding("sentence", REPORTED, (item.id for item in two.items if item.text in one.texts)),
    ]


def _voices(
    number: int,
    names: tuple[str, str],
    one: FoldPart,
    two: FoldPart,
    pairs: Sequence[tuple[UtteranceKeys, UtteranceKeys]],
) -> list[Finding]:
    """Speakers with a recording in common, one of them in each of two parts, or both in one."""
    found: dict[frozenset[str], str] = {}
    concerned: set[str] = set()
    for pair in pairs:
        for a, b in (pair, pair[::-1]):
            if a.speaker in one.speakers and b.speaker in two.speakers:
                concerned.add(b.speaker)
                found.setdefault(frozenset((a.speaker, b.speaker)), f"{a.speaker} and {b.speaker} ({a.id} = {b.id})")
    examples = tuple(found.values())[:_SHOWN]
    return [Finding(number, VOICE, names, REPORTED, len(concerned), len(two.speakers), examples)] if found else []


def _pretraining(
    number: int, protocol: Protocol, data: Pretraining, other: PretrainingPart, test: FoldPart
) -> list[Finding]:
    heard = [
        f"{other.sounds[item.sound]} = {item.id}" for item in test.items if item.sound and item.sound in other.sounds
    ]
    names = (f"pretraining data {data.name}", "test")
    found = []
    if heard:
        status = DECLARED if protocol.transductive and not data.labelled else LEAK
        kind = "pretraining labels" if data.labelled else "pretraining"
        found.append(Finding(number, kind, names, status, len(heard), len(test.items), tuple(heard[:_SHOWN])))
    if data.labelled:
        return found
    known = sorted(test.speakers & other.speakers)
    if known and not heard:
        examples = tuple(known[:_SHOWN])
        of = len(test.speakers)
        found.append(Finding(number, "pretraining speaker", names, REPORTED, len(known), of, examples))
    return found


def refuse_leaks(findings: Sequence[Finding], protocol: Protocol, where: str) -> None:
    """Stop where something leaks.

    Raises:
        ProtocolError: naming the first leaks, and what to do
    """
    leaks = [item for item in findings if item.status == LEAK]
    if not leaks:
        return
    shown = [f"  {item}" for item in leaks[:_SHOWN]]
    if len(leaks) > _SHOWN:
        shown.append(f"  ... and {len(leaks) - _SHOWN} more")
    kinds = {item.kind for item in leaks}
    advice = []
    if kinds & {"audio", "sibling", "segment"}:
        advice.append("--drop-leaks leaves the utterances in question out of train and dev")
    if "pretraining" in kinds:
        advice.append(
            f"{protocol.name}-transductive declares and shows it, if there is one; or pretrain without test audio"
        )
    if "pretraining labels" in kinds:
        advice.append(
            "the labels of these test utterances were used in pretraining: take the model that was made for the fold "
            "that is tested, by naming the folder that holds fold1, fold2, ..."
        )
    if "speaker" in kinds:
        advice.append(
            "give every speaker's utterances one fold. Names such as 1 and 1.0 are one speaker's: a folder in which an "
            "earlier version took them for two has to be made again, elsewhere"
        )
    raise ProtocolError(
        f"{where}: the division leaks, which protocol {protocol.name} does not declare:\n"
        + "\n".join(shown)
        + "".join(f"\n{text[0].upper()}{text[1:]}." for text in advice)
    )


def summary(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings of all folds together, one entry for each kind, pair and status, for ``results.json``."""
    grouped: dict[tuple[str, tuple[str, str], str], list[Finding]] = {}
    for item in findings:
        grouped.setdefault((item.kind, item.between, item.status), []).append(item)
    return [
        {
            "kind": kind,
            "between": list(between),
            "status": status,
            "folds": [item.fold for item in items],
            "share": sum(item.count for item in items) / sum(item.of for item in items),
        }
        for (kind, between, status), items in grouped.items()
    ]


def audit_once(
    manifest: Manifest, folds: Folds, protocol: Protocol, pretraining: Sequence[PretrainingData], path: Path
) -> list[Finding]:
    """:func:`audit` into a file, or what an earlier one left there, if manifest, folds and the rest are the same.

    Args:
        manifest: the corpus, checked
        folds: its division
        protocol: what the division may share
        pretraining: where what the upstream heard in pretraining is listed
        path: the file of findings

    Raises:
        ProtocolError, CorpusError: as :func:`audit`, and if a pretraining manifest cannot be read
    """
    of = _fingerprint(manifest, folds, protocol, pretraining)
    try:
        if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["of"] == of:
            return read(path)
    except (ValueError, TypeError, KeyError, RecursionError, ProtocolError):
        pass  # of an earlier version, or damaged: made again
    findings = audit(manifest, folds, protocol, [data.read() for data in pretraining])
    write(findings, path, of)
    return findings


def _fingerprint(manifest: Manifest, folds: Folds, protocol: Protocol, pretraining: Sequence[PretrainingData]) -> str:
    """SHA-256 of all that an audit looks at."""
    digest = hashlib.sha256(json.dumps([RULES, manifest.root, folds.sha256(), declared(protocol)["sha256"]]).encode())
    for item in manifest.utterances:
        row = (item.id, item.path, item.speaker, item.text, item.start_s, item.end_s, item.sound, item.source)
        digest.update(repr(row).encode())
    for data in pretraining:
        digest.update(f"{data.path} {data.fold} {data.labelled}\n".encode("utf-8", "surrogateescape"))
        if data.path.is_file():
            digest.update(hashlib.sha256(data.path.read_bytes()).digest())
    return digest.hexdigest()


def write(findings: Sequence[Finding], path: str | Path, of: str = "") -> None:
    """Write all findings as JSON, atomically, with the fingerprint of what they were found in."""
    content = {"of": of, "findings": [asdict(item) for item in findings]}
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read(path: str | Path) -> list[Finding]:
    """Read what :func:`write` wrote, also a list without a fingerprint, as earlier versions wrote it.

    Raises:
        ProtocolError: naming the file, if it is something else
    """
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
        return [
            Finding(**{**item, "between": tuple(item["between"]), "examples": tuple(item["examples"])})
            for item in (content["findings"] if isinstance(content, dict) else content)
        ]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProtocolError(f"{path}: not an audit: {error}. Make it again with the command `audit`") from error
