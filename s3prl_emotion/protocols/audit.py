"""What train, dev and test share that they should not: speakers, audio, augmented siblings, pretraining data.

A leak that the protocol does not declare is refused before anything is trained; what it declares is shown. Sentences in
common are reported, never refused: acted corpora have every speaker say the same ones by design.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.files import parse_json, write_atomically
from s3prl_emotion.protocols._likeness import by_file, file_of, overlap, root, spelling
from s3prl_emotion.protocols.protocol import Protocol
from s3prl_emotion.protocols.split import Fold, Folds

LEAK = "leak"
DECLARED = "declared"
REPORTED = "reported"
FILE = "audit.json"
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """Something that two parts of a fold share.

    ``kind`` is one of ``utterance``, ``speaker``, ``speaker spelling`` (names that differ in case, accents' encoding,
    spaces or leading zeros), ``audio`` (the same waveform under two ids), ``segment`` (overlapping stretches of one
    file), ``sibling`` (made from one recording by augmentation), ``sentence``, ``pretraining`` and ``pretraining
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
        more = ", ..." if self.count > len(self.examples) else ""
        first, second = self.between
        return (
            f"fold {self.fold}: {self.kind}: {first} and {second} share {self.count} of {second}'s {self.of} "
            f"({', '.join(self.examples)}{more})"
        )


def audit(
    manifest: Manifest, folds: Folds, protocol: Protocol, pretraining: Mapping[str, Manifest] | None = None
) -> list[Finding]:
    """Look for overlap in every fold.

    Audio is compared by the waveform's fingerprint without digital zeros at its ends, which ``prepare`` fills in: the
    same samples in another file, format or padding are found. Copies with other samples (resampled, louder, compressed,
    cut) are found only where ``source`` names what they were made from.

    Args:
        manifest: the corpus, checked
        folds: its division
        protocol: what the division may share
        pretraining: what the upstream was pretrained on, by name

    Raises:
        ProtocolError: if a pretraining manifest has utterances without ``content``
    """
    for name, other in (pretraining or {}).items():
        unchecked = [item.id for item in other.utterances if item.content is None]
        if unchecked:
            raise ProtocolError(
                f"{name}: {len(unchecked)} utterances have no 'content', first {unchecked[0]!r}: nothing to compare "
                "audio by. Make the manifest with the command `prepare`, which fills it in"
            )
    found: list[Finding] = []
    for fold in folds.folds:
        parts = {part: [manifest.by_id[name] for name in getattr(fold, part)] for part in ("train", "dev", "test")}
        for first, second in combinations(parts, 2):
            found += _between(manifest, fold, protocol, (first, second), parts[first], parts[second])
        for name, other in (pretraining or {}).items():
            found += _pretraining(fold, protocol, name, other, parts["test"])
    return found


def _between(
    manifest: Manifest,
    fold: Fold,
    protocol: Protocol,
    names: tuple[str, str],
    one: Sequence[Utterance],
    two: Sequence[Utterance],
) -> list[Finding]:
    is_test = names[1] == "test"
    same_set = protocol.selection_on_test and names == ("dev", "test")
    shares_speakers = not (protocol.speaker_disjoint_test if is_test else protocol.speaker_disjoint_dev)
    ids, speakers = {item.id for item in one}, {item.speaker for item in one}
    audio = {item.sound for item in one if item.sound is not None}
    roots = {root(manifest, item) for item in one}
    texts = {item.text for item in one if item.text}
    pieces = by_file(manifest, one)
    spelled = {spelling(speaker): speaker for speaker in sorted(speakers)}
    common = sorted({item.speaker for item in two} & speakers)
    others = [item for item in two if item.id not in ids]

    def finding(kind: str, status: str, shared: Iterable[str], of: int) -> list[Finding]:
        listed = list(shared)
        return [Finding(fold.number, kind, names, status, len(listed), of, tuple(listed[:_SHOWN]))] if listed else []

    return [
        *finding("utterance", DECLARED if same_set else LEAK, (item.id for item in two if item.id in ids), len(two)),
        *finding(
            "speaker", DECLARED if same_set or shares_speakers else LEAK, common, len({item.speaker for item in two})
        ),
        *finding("audio", LEAK, (item.id for item in others if item.sound in audio), len(two)),
        *finding(
            "segment",
            LEAK,
            (
                item.id
                for item in others
                if any(overlap(item, piece) for piece in pieces.get(file_of(manifest, item), ()))
            ),
            len(two),
        ),
        *finding(
            "speaker spelling",
            REPORTED,
            (
                f"{spelled[spelling(name)]} and {name}"
                for name in sorted({item.speaker for item in two})
                if name not in speakers and spelling(name) in spelled
            ),
            len({item.speaker for item in two}),
        ),
        *finding(
            "sibling",
            LEAK,
            (item.id for item in others if root(manifest, item) in roots),
            len(two),
        ),
        *finding("sentence", REPORTED, (item.id for item in two if item.text in texts), len(two)),
    ]


def _pretraining(
    fold: Fold, protocol: Protocol, name: str, other: Manifest, test: Sequence[Utterance]
) -> list[Finding]:
    audio = {item.sound for item in other.utterances}
    heard = [item.id for item in test if item.sound in audio]
    names = (f"pretraining data {name}", "test")
    found = []
    if heard:
        status = DECLARED if protocol.transductive else LEAK
        found.append(Finding(fold.number, "pretraining", names, status, len(heard), len(test), tuple(heard[:_SHOWN])))
    speakers = {item.speaker for item in test}
    known = sorted(speakers & set(other.speakers))
    if known and not heard:
        examples = tuple(known[:_SHOWN])
        found.append(Finding(fold.number, "pretraining speaker", names, REPORTED, len(known), len(speakers), examples))
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
    if "speaker" in kinds:
        advice.append("give every speaker's utterances one fold")
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


def write(findings: Sequence[Finding], path: str | Path) -> None:
    """Write all findings as JSON, atomically."""
    write_atomically(path, json.dumps([asdict(item) for item in findings], indent=1, ensure_ascii=False) + "\n")


def read(path: str | Path) -> list[Finding]:
    """Read what :func:`write` wrote.

    Raises:
        ProtocolError: naming the file, if it is something else
    """
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
        return [
            Finding(**{**item, "between": tuple(item["between"]), "examples": tuple(item["examples"])})
            for item in content
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise ProtocolError(f"{path}: not an audit: {error}. Make it again with the command `audit`") from error
