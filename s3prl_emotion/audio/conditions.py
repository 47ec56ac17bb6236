"""Conditions of a robustness test: one effect of :mod:`s3prl_emotion.audio.augmentation` at one level."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, effects
from s3prl_emotion.audio.reading import SAMPLE_RATE_HZ
from s3prl_emotion.errors import ConfigError

LEVELS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "noise": ("snr", "snr_db", (20.0, 10.0, 5.0, 0.0)),
    "gain": ("gain", "gain_db", (-20.0, -10.0, 10.0)),
    "reverberation": ("rt60", "rt60_s", (0.3, 0.6, 1.0)),
    "pitch_shift": ("semitones", "semitones", (-2.0, 2.0)),
    "time_stretch": ("rate", "rate", (0.9, 1.1)),
}
"""For each effect that has a level the option that names it, its parameter, and the levels if none are given; ours."""
NAME = "undisturbed"


@dataclass(frozen=True)
class Condition:
    """What is done to every utterance.

    Args:
        effect: its name; None leaves the audio as it is
        options: of the effect
    """

    effect: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """``noise, snr_db 10``."""
        return ", ".join([self.effect or NAME, *(f"{key} {_shown(value)}" for key, value in self.options.items())])

    def build(self) -> Effect | None:
        """The effect; None where the audio stays as it is, as at an SNR of infinity.

        Raises:
            ConfigError: if effect or an option is unknown or wrong, or its library is not installed
        """
        if self.effect is None or self.options.get("snr_db") == math.inf:
            return None
        effect: Effect = effects.build(self.effect, self.options, "--with")
        return effect


UNDISTURBED = Condition()


def disturbed(
    samples: np.ndarray, effect: Effect | None, *key: int | str, name: str = "the waveform"
) -> tuple[np.ndarray, bool]:
    """A waveform under a condition, and whether it is silent: then it stays as it is, since nothing in it could be hid.

    Args:
        samples: float32 of shape ``(samples,)`` at 16 kHz
        effect: from :meth:`Condition.build`
        key: what the effect's draw depends on: for all levels alike, so that levels differ in nothing else
        name: for messages

    Raises:
        AudioError: if the effect cannot be had of it
    """
    if effect is None:
        return samples, False
    if not samples.any():
        return samples, True
    return effect(samples, SAMPLE_RATE_HZ, *key, name=name).samples, False


def conditions(
    names: Iterable[str], levels: Mapping[str, tuple[float, ...] | None], options: Mapping[str, Any]
) -> list[Condition]:
    """The conditions that are asked for, after the undisturbed one.

    Args:
        names: of effects
        levels: by the option of :data:`LEVELS` that names them; None takes the default
        options: further ones, of every effect

    Raises:
        ConfigError: if a name is unknown or there twice, a level is of no effect named, or an option is wrong
    """
    chosen = list(names)
    twice = sorted({name for name in chosen if chosen.count(name) > 1})
    if twice:
        raise ConfigError(f"--with: {twice[0]!r} is named twice")
    for name in chosen:
        effects.get(name, "--with")
    for effect, (option, _, _) in LEVELS.items():
        if levels.get(option) is not None and effect not in chosen:
            raise ConfigError(f"--{option} is the level of {effect}: add it to --with, or leave --{option} out")
    found = [UNDISTURBED]
    for name in chosen:
        if name not in LEVELS:
            found.append(Condition(name, dict(options)))
            continue
        option, parameter, usual = LEVELS[name]
        given = levels.get(option)
        for level in usual if given is None else given:
            found.append(Condition(name, {parameter: level, **options}))
    for condition in found:
        condition.build()
    return found


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
