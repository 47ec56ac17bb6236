"""Rows of ``ls upstreams``: name, source, and size and rate where they are known without weights."""

from __future__ import annotations

import csv
import functools
import importlib.resources
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.plugins import plugin_of
from s3prl_emotion.published import canonical_upstream
from s3prl_emotion.s3prl_runner import upstream_registry
from s3prl_emotion.upstreams import code
from s3prl_emotion.upstreams.metadata import CheckpointFacts
from s3prl_emotion.upstreams.reference import dropin_upstreams
from s3prl_emotion.upstreams.trust import reading_upstream

# Hidden states, width, frames per second and millions of parameters. A test runs the first four; the others follow from
# the papers' model sizes: 12 blocks of 768, 24 of 1024, at 50 Hz.
_KNOWN: dict[str, tuple[int, int, float | None, float | None]] = {
    "fbank": (1, 240, 100.0, 0.0),
    "fbank_no_cmvn": (1, 240, 100.0, 0.0),
    "mfcc": (1, 39, 100.0, 0.0),
    "ge2e": (3, 256, 100.0, 1.36),
    "librosa94": (1, 94, 31.25, 0.0),
    "prosody": (1, 3, 31.25, 0.0),
    "egemaps": (1, 25, 100.0, 0.0),
    "egemaps_functionals": (1, 88, None, 0.0),  # one vector for each utterance
    "compare_functionals": (1, 6373, None, 0.0),
    "spectrogram_16ms_4ms": (1, 129, 250.0, 0.0),
    **dict.fromkeys(
        ("hubert_base", "wav2vec2_base_960", "wavlm_base", "wavlm_base_plus", "data2vec_base"), (13, 768, 50.0, None)
    ),
    **dict.fromkeys(("unispeech_sat_base", "unispeech_sat_base_plus"), (13, 768, 50.0, None)),
    **dict.fromkeys(
        ("hubert_large_ll60k", "wav2vec2_large_ll60k", "wavlm_large", "data2vec_large_ll60k", "unispeech_sat_large"),
        (25, 1024, 50.0, None),
    ),
}

COLUMNS = ("name", "source", "states", "width", "rate Hz", "parameters")


@dataclass(frozen=True)
class UpstreamRow:
    """One upstream."""

    name: str
    source: str  # "s3prl", "s3prl-emotion", "plugin: PATH" or "dropped: PATH"
    facts: CheckpointFacts = field(default_factory=CheckpointFacts)
    problem: str = ""  # why a dropped one cannot be used

    @property
    def parameters_millions(self) -> float | None:
        """Millions of parameters."""
        return None if self.facts.parameters is None else self.facts.parameters / 1e6

    def cells(self) -> tuple[str, ...]:
        """One text for each of :data:`COLUMNS`; what is not known is ``-``."""
        facts = self.facts
        known = (
            "-" if facts.states is None else str(facts.states),
            "-" if facts.width is None else str(facts.width),
            "-" if facts.rate_hz is None else f"{facts.rate_hz:g}",
            "-" if self.parameters_millions is None else f"{self.parameters_millions:.2f} M",
        )
        return (self.name, self.source, *known)


def upstream_rows() -> list[UpstreamRow]:
    """Every name that ``-u`` knows: dropped ones, ours, S3PRL's.

    A dropped checkpoint that cannot be used is a row that says why.
    """
    names = upstream_registry.upstream_names()
    rows = [
        _dropped_row(name, path, paths, names) for name, paths in sorted(dropin_upstreams().items()) for path in paths
    ]
    functions = upstream_registry.upstreams()
    rows += [_named_row(name, _source(functions[name])) for name, ours in names.items() if ours]
    return rows + [_named_row(name, "s3prl") for name, ours in names.items() if not ours]


def _source(function: Callable[..., Any]) -> str:
    file = inspect.getfile(function)
    return "s3prl-emotion" if plugin_of(file) is None else f"plugin: {file}"


def _named_row(name: str, source: str) -> UpstreamRow:
    states, width, rate_hz, millions = _KNOWN.get(canonical_upstream(name), (None, None, None, None))
    millions = _published(name) if millions is None else millions
    return UpstreamRow(
        name, source, CheckpointFacts(states, width, rate_hz, None if millions is None else round(millions * 1e6))
    )


def _dropped_row(name: str, path: Path, same_name: list[Path], names: dict[str, bool]) -> UpstreamRow:
    from s3prl_emotion.upstreams.metadata import facts

    source = f"dropped: {path}"
    if upstream_registry.is_taken(name):
        owner = "ours" if names.get(name) else "S3PRL"
        return UpstreamRow(name, source, problem=f"not used: {name} is a name of {owner}; rename it")
    if len(same_name) > 1:
        others = ", ".join(str(other) for other in same_name if other != path)
        return UpstreamRow(name, source, problem=f"has the same name as {others}; rename one")
    if code.is_code(path):
        return UpstreamRow(name, source, problem=code.REFUSAL)
    try:
        with reading_upstream():
            return UpstreamRow(name, source, facts(path))
    except UpstreamError as error:
        return UpstreamRow(name, source, problem=" ".join(str(error).split()))


@functools.cache
def _sizes() -> dict[str, float]:
    """Millions of parameters by the names of the SUPERB table."""
    file = importlib.resources.files("s3prl_emotion") / "data" / "superb_er.csv"
    rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines())
    return {row["upstream"]: float(row["params_millions"]) for row in rows if row["params_millions"]}


def _published(name: str) -> float | None:
    return _sizes().get(canonical_upstream(name))
