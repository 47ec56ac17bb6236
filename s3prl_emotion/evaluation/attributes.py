"""Attributes of a run's utterances (sex, intensity, ...), read from its predictions and manifest."""

from __future__ import annotations

from pathlib import Path

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import RunError, suggest
from s3prl_emotion.evaluation.runs import Run
from s3prl_emotion.protocols.integrity import manifest_sha256
from s3prl_emotion.runs.composite import fusion_members, rate_members
from s3prl_emotion.runs.folder import RunFolder

NOT_TOLD = "(not told)"
RECORDED = ("label", "speaker", "fold")
"""What predictions themselves tell."""
FIELDS = ("session", "corpus", "text")
"""What every manifest may tell."""

Values = dict[tuple[int, str], str | None]


def values_of(run: Run, by: str, told_by: Path | None = None) -> Values:
    """The value of every scored utterance, by fold and utterance; None where the corpus does not tell it.

    Args:
        run: a finished run; its folder's manifest is held against the hash in ``run.json``
        by: of :data:`RECORDED`, :data:`FIELDS`, or an attribute's name
        told_by: another manifest of the same corpus, which tells more

    Raises:
        RunError: if nothing of that name is known, or there is no manifest
    """
    if by in RECORDED:
        return {
            (item.fold, item.utterance): {"label": item.truth, "speaker": item.speaker or None, "fold": str(item.fold)}[
                by
            ]
            for item in run.predictions
        }
    manifest = manifest_of(run.folder)
    if told_by is not None:
        manifest = _same(Manifest.read(told_by), manifest, told_by, run.folder)
    strange = [item.utterance for item in run.predictions if item.utterance not in manifest.by_id]
    if strange:
        raise RunError(
            f"{run.folder}: predictions.csv has the utterance {strange[0]!r}, which manifest.jsonl has not: one of the "
            "two was edited, or is another run's. Restore it"
        )
    found: Values = {
        (item.fold, item.utterance): _value(manifest.by_id[item.utterance], by, manifest) for item in run.predictions
    }
    if not any(found.values()):
        told = [*RECORDED, *(name for name in FIELDS if any(_value(u, name, manifest) for u in manifest.utterances))]
        raise RunError(
            f"--by {by}: the manifest of {run.folder} tells no {by!r} of the scored utterances. "
            f"{suggest(by, [*told, *manifest.attributes])} What a corpus tells is kept by the run; "
            "for a run of an earlier version, --manifest FILE takes it from one that `prepare` makes now. Columns of a "
            "table are named with --corpus-option attributes=A,B"
        )
    return found


def manifest_of(folder: Path) -> Manifest:
    """The manifest that a run was computed from; that of a choice of rates or a late fusion lies in the runs it is of.

    Raises:
        RunError: if it is not there, or not the run's
    """
    run = RunFolder(folder)
    if not run.manifest.is_file() and run.rates.is_file():
        run = RunFolder(next(iter(rate_members(folder).values())))
    elif not run.manifest.is_file() and (members := fusion_members(folder)):
        run = RunFolder(members[0])
    if not run.manifest.is_file():
        raise RunError(f"{run.manifest}: is missing: without it nothing is known of utterances. Restore it")
    run.check_scored()
    return Manifest.read(run.manifest)


def _same(other: Manifest, known: Manifest, path: Path, folder: Path) -> Manifest:
    """Another manifest, if it is of the same utterances, labels, speakers and audio.

    Raises:
        RunError: if it is not
    """
    if manifest_sha256(other) != manifest_sha256(known):
        raise RunError(
            f"--manifest {path}: is not of the corpus that {folder} was made with, with the same utterances, labels, "
            "speakers and audio. Make it with `prepare` and the corpus options of the run"
        )
    return other


def _value(utterance: Utterance, by: str, manifest: Manifest) -> str | None:
    if by == "corpus":
        return utterance.corpus or manifest.corpus
    if by in FIELDS:
        return getattr(utterance, by) or None
    return (utterance.attributes or {}).get(by)
