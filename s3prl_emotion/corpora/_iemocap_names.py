"""What the name of an utterance of IEMOCAP's tells, in whatever corpus it appears.

A speaker is the session plus the F or M before the last number: in ``Ses01F_impro01_M003`` the first F tells who wore
the markers, the M tells who speaks.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"^(Ses(\d\d))[FM]_(.+)_([FM])[A-Za-z]*\d+$")
_SEXES = {"F": "female", "M": "male"}
_SCENARIOS = {"impro": "improvised", "script": "scripted"}
SCENARIOS = tuple(_SCENARIOS.values())
ATTRIBUTES = ("sex", "scenario")


def speaker_of(name: str) -> str | None:
    """Who speaks in an utterance with a name of IEMOCAP's form (``Ses01F_impro01_M003``: ``Ses01M``), or None."""
    match = _NAME.match(name)
    return match.group(1) + match.group(4) if match else None


def session_of(name: str) -> int | None:
    """The session number of an utterance with a name of IEMOCAP's form, or None."""
    match = _NAME.match(name)
    return int(match.group(2)) if match else None


def attributes_of(name: str) -> dict[str, str] | None:
    """Sex of who speaks, and whether the scenario is improvised or scripted (``impro``, ``script``); None elsewhere."""
    match = _NAME.match(name)
    if match is None:
        return None
    scenario = next((value for prefix, value in _SCENARIOS.items() if match.group(3).startswith(prefix)), None)
    return {"sex": _SEXES[match.group(4)], **({} if scenario is None else {"scenario": scenario})}
