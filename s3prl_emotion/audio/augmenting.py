"""Several effects in a row, each with its probability: what a configuration calls ``augmentation``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, effects, generator_of
from s3prl_emotion.config import shown
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.plugins import record

DEFAULT_P = 0.5
"""Probability of an effect that names none; ours."""
DEFAULT = tuple({"name": name, "p": DEFAULT_P} for name in ("noise", "time_stretch", "pitch_shift", "gain"))
"""The four effects of arXiv 2312.11503, which does not give their parameters: those, and the probability, are ours."""

FOLDER = "folder"
"""The option of effects that names recordings."""

Record = tuple[Mapping[str, float | str], ...]
"""The effects that were applied, in their order, each with what was drawn."""


@dataclass(frozen=True)
class Augmentation:
    """Effects that are applied in their order, each with its own probability.

    Args:
        effects: the effects and their probabilities
        given: what a configuration holds of them
    """

    effects: tuple[tuple[Effect, float], ...]
    given: tuple[Mapping[str, Any], ...]  # what the configuration holds

    @classmethod
    def of(cls, given: Any, where: str) -> Augmentation:
        """Build what a configuration holds.

        Args:
            given: a list of mappings with ``name``, ``p`` (0.5 if not given) and the options of the effect
            where: file and key, put in front of messages

        Raises:
            ConfigError: if it is anything else, an option is wrong, or a library is missing
        """
        if not isinstance(given, (list, tuple)) or not given:
            raise ConfigError(f"{where}: expected a list of effects, each with a name, found {shown(given)}")
        return cls(tuple(_effect(item, f"{where}[{place}]") for place, item in enumerate(given)), tuple(given))

    def identity(self) -> list[dict[str, Any]]:
        """What decides the copies beside the key, as plain values; files that are mixed in, and plugins, by hash."""
        found = []
        for given, (effect, _) in zip(self.given, self.effects, strict=True):
            material = effect.material()
            options = {key: value for key, value in given.items() if key != FOLDER or not material}
            found.append({**options, **material, **(record(effects.file_of(given["name"])) or {})})
        return found

    def __call__(
        self,
        waveform: np.ndarray,
        rate_hz: int,
        *key: int | str,
        name: str = "the waveform",
        at_least_one: bool = False,
    ) -> tuple[np.ndarray, Record]:
        """A changed copy, and how it was changed.

        Args:
            waveform: float32 samples of shape ``(samples,)``, mono
            rate_hz: their rate
            key: what is drawn depends on it and on nothing else: for example seed, utterance and number of the copy
            name: of the recording, for messages
            at_least_one: where none was drawn, draw one of them, by their probabilities, so that a copy is none of the
                original

        Raises:
            AudioError: if an effect cannot be had of this waveform
        """
        generator = generator_of(*key, "which")
        chances = np.array([chance for _, chance in self.effects])
        chosen = generator.random(len(chances)) < chances
        if at_least_one and not chosen.any():
            chosen[generator.choice(len(chances), p=chances / chances.sum())] = True
        record = []
        for place, (effect, _) in enumerate(self.effects):
            if chosen[place]:
                disturbed = effect(waveform, rate_hz, *key, place, name=name)
                waveform = disturbed.samples
                record.append(disturbed.record)
        return waveform, tuple(record)


def _effect(given: Any, where: str) -> tuple[Effect, float]:
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ConfigError(f"{where}: expected an effect as keys and values, with its name, found {shown(given)}")
    chance = given.get("p", DEFAULT_P)
    if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 < chance <= 1:
        raise ConfigError(f"{where}.p: expected a probability above 0, at most 1, found {shown(chance)}")
    options = {key: value for key, value in given.items() if key not in ("name", "p")}
    return effects.build(given["name"], options, where), float(chance)
