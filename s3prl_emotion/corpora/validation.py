"""Decode every utterance once and say what is wrong with it, before a run finds out after an hour.

Errors make an utterance unusable; notices tell what a reader of results should know, and speech goes on with them.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import CorpusError

logger = logging.getLogger(__name__)

ERROR = "error"
NOTICE = "notice"
PADDING_S = 0.1
"""From this many seconds of exact zeros at its end an utterance counts as a zero-padded copy."""
LONG_S, BRIEF_S = 40.0, 0.25
"""Longer clips, or shorter ones, that last ten times as long as half of all clips, or a tenth, are noticed."""
_TIMES = 10
_SHOWN = 10


@dataclass(frozen=True)
class Problem:
    """Something found in one utterance.

    ``kind`` is one of ``missing``, ``git-lfs``, ``corrupt``, ``empty``, ``non-finite``, ``segment``, ``short``,
    ``label`` (errors), ``sample-rate``, ``stereo``, ``scale``, ``silent``, ``offset``, ``zero-padded``, ``long``,
    ``brief``, ``repeated``, ``labelled twice`` (notices).
    """

    utterance: str
    path: str
    kind: str
    severity: str
    message: str


def validate(manifest: Manifest, progress: Callable[[int, int], None] | None = None) -> tuple[Manifest, list[Problem]]:
    """Decode every utterance once.

    Args:
        manifest: what to check
        progress: called with the number of utterances done and their total

    Returns:
        the manifest with ``duration_s`` and ``content`` where the audio can be read, and the problems in its order
    """
    labels = set(manifest.labels)

    def check(utterance: Utterance) -> tuple[Utterance, list[Problem]]:
        return _check(manifest, utterance, labels)

    checked: list[Utterance] = []
    problems: list[list[Problem]] = []
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for done, (utterance, found) in enumerate(pool.map(check, manifest.utterances), start=1):
            checked.append(utterance)
            problems.append(found)
            if progress is not None:
                progress(done, len(manifest.utterances))
    known = [item.duration_s for item in checked if item.duration_s is not None]
    usual_s = median(known) if known else 0.0
    for found, item in zip(problems, checked, strict=True):
        found += [] if any(problem.severity == ERROR for problem in found) else _lasting(manifest, item, usual_s)
    _find_repeated(manifest, checked, problems)
    return manifest.with_utterances(checked), [problem for found in problems for problem in found]


def _find_repeated(manifest: Manifest, checked: Sequence[Utterance], problems: Sequence[list[Problem]]) -> None:
    """Notice utterances with the samples of an earlier one; silent ones are noticed as such."""
    first: dict[str, Utterance] = {}
    for found, item in zip(problems, checked, strict=True):
        if item.sound is None or any(one.kind == "silent" or one.severity == ERROR for one in found):
            continue
        same = first.setdefault(item.sound, item)
        if same is item:
            continue
        kind, differs = "repeated", ""
        if same.label != item.label:
            kind, differs = "labelled twice", f", with label {item.label!r} here and {same.label!r} there"
        message = f"{manifest.path_of(item)}: the same audio as {same.id!r}{differs}. Take one of them away"
        found.append(Problem(item.id, item.path, kind, NOTICE, message))


def _lasting(manifest: Manifest, item: Utterance, usual_s: float) -> list[Problem]:
    """Whether an utterance lasts much longer or shorter than others: padded batches are as long as their longest."""
    lasts_s = item.duration_s
    if lasts_s is None or usual_s / _TIMES <= lasts_s <= usual_s * _TIMES or BRIEF_S <= lasts_s <= LONG_S:
        return []
    beside = f"{manifest.path_of(item)}: lasts {lasts_s:.4g} s, where half of the clips last up to {usual_s:.2g} s"
    if lasts_s < usual_s:
        return [Problem(item.id, item.path, "brief", NOTICE, f"{beside}: hardly more than a few frames")]
    remedy = "cut it, or train on the first seconds, -o config.downstream_expert.datarc.max_duration_s=N"
    message = f"{beside}: a batch needs as much memory for all of its clips as for this one; {remedy}"
    return [Problem(item.id, item.path, "long", NOTICE, message)]


def apply(manifest: Manifest, problems: Sequence[Problem], skip_bad: bool = False) -> Manifest:
    """Refuse a manifest with errors, or leave the bad utterances out.

    Args:
        manifest: a checked manifest
        problems: what :func:`validate` found; notices are ignored
        skip_bad: leave utterances with errors out instead of refusing

    Raises:
        CorpusError: with up to ten of the errors and their number per kind, unless ``skip_bad``; and if no utterance
            is left
    """
    errors = [item for item in problems if item.severity == ERROR]
    if not errors:
        return manifest
    bad = {item.utterance for item in errors}
    if not skip_bad:
        shown = [f"  {item.utterance}: {item.message}" for item in errors[:_SHOWN]]
        if len(errors) > _SHOWN:
            shown.append(f"  ... and {len(errors) - _SHOWN} more")
        raise CorpusError(
            f"{manifest.corpus}: {len(bad)} of {len(manifest.utterances)} utterances cannot be used "
            f"({summarise(errors)}):\n"
            + "\n".join(shown)
            + (f"\nRelative paths start from {manifest.root}" if any(e.kind == "missing" for e in errors) else "")
            + "\nRepair them, or use --skip-bad to go on without them"
        )
    kept = manifest.with_utterances(item for item in manifest.utterances if item.id not in bad)
    if not kept.utterances:
        raise CorpusError(f"{manifest.corpus}: none of {len(bad)} utterances can be used ({summarise(errors)})")
    logger.warning(
        "%s: going on without %d of %d utterances (%s)",
        manifest.corpus,
        len(bad),
        len(manifest.utterances),
        summarise(errors),
    )
    return kept


def summarise(problems: Sequence[Problem]) -> str:
    """How many problems there are of each kind: ``missing 3, short 1``."""
    return ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(item.kind for item in problems).items()))


def trim_zeros(manifest: Manifest) -> Manifest:
    """Exclude exact digital zeros at both ends of every utterance by its times; no audio is rewritten.

    Recordings that were padded to a common length become usable this way. What stays as it is, says
    :func:`~s3prl_emotion.audio.preparation.sounding`.

    Raises:
        CorpusError: if a file cannot be read
    """
    from s3prl_emotion.audio import as_waveform, read_segment, waveform_key
    from s3prl_emotion.audio.preparation import sounding

    def trim(utterance: Utterance) -> Utterance:
        samples, rate = read_segment(manifest.path_of(utterance), utterance.start_s, utterance.end_s)
        lead, last = sounding(samples, rate)
        trail = len(samples) - last
        if lead + trail == 0:
            return utterance
        first = round((utterance.start_s or 0.0) * rate)
        start, end = first + lead, first + last
        return dataclasses.replace(
            utterance,
            start_s=start / rate if lead or utterance.start_s is not None else None,
            end_s=end / rate if trail or utterance.end_s is not None else None,
            duration_s=None if utterance.duration_s is None else (end - start) / rate,
            content=waveform_key(as_waveform(samples[lead:last], rate)),
            trimmed=None,
        )

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        trimmed = tuple(pool.map(trim, manifest.utterances))
    changed = sum(new is not old for new, old in zip(trimmed, manifest.utterances, strict=True))
    logger.info("%s: digital zeros excluded at the ends of %d of %d utterances", manifest.corpus, changed, len(trimmed))
    return manifest.with_utterances(trimmed)


def _check(manifest: Manifest, utterance: Utterance, labels: set[str]) -> tuple[Utterance, list[Problem]]:
    from s3prl_emotion.audio import SAMPLE_RATE_HZ, AudioError, as_waveform, read_segment, waveform_key
    from s3prl_emotion.audio.preparation import check_length, oddities, outer_zeros

    path = manifest.path_of(utterance)
    problems: list[Problem] = []

    def add(kind: str, severity: str, message: str) -> None:
        problems.append(Problem(utterance.id, utterance.path, kind, severity, message))

    if utterance.label not in labels:
        add("label", ERROR, f"label {utterance.label!r} is not one of {', '.join(manifest.labels)}")
    try:
        samples, rate = read_segment(path, utterance.start_s, utterance.end_s)
    except AudioError as error:
        add(error.kind, ERROR, str(error))
        return utterance, problems
    duration_s = len(samples) / rate
    is_usable = True
    try:
        check_length(len(samples), rate, str(path))
    except AudioError as error:
        is_usable = False
        add(error.kind, ERROR, str(error))
    if rate != SAMPLE_RATE_HZ:
        add("sample-rate", NOTICE, f"{path}: {rate} Hz, resampled to {SAMPLE_RATE_HZ} Hz")
    if samples.shape[1] > 1:
        add("stereo", NOTICE, f"{path}: {samples.shape[1]} channels, averaged")
    lead, trail = outer_zeros(samples)
    odd = oddities(samples)
    for kind, message in odd:
        add(kind, NOTICE, f"{path}: {message}")
    if trail / rate >= PADDING_S and not any(kind == "silent" for kind, _ in odd):
        add("zero-padded", NOTICE, f"{path}: its last {trail / rate:.2f} s are digital zeros, a zero-padded copy")
    content = trimmed = None
    if is_usable:
        content = waveform_key(as_waveform(samples, rate))
        if 0 < lead + trail < len(samples):
            trimmed = waveform_key(as_waveform(samples[lead : len(samples) - trail], rate))
    return dataclasses.replace(utterance, duration_s=duration_s, content=content, trimmed=trimmed), problems
