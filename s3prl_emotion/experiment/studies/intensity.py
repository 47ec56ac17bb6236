"""Intensity: are strong emotions recognised better?"""

from __future__ import annotations

from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.evaluation.groups import group_by
from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies
from s3prl_emotion.experiment.studies._base import Done
from s3prl_emotion.experiment.studies._tables import system_of
from s3prl_emotion.reporting.groups import groupings_text

TOLD = {"cremad": "level", "ravdess": "intensity"}
"""The corpora that tell the intensity, and what they call it."""
NONE = ("unspecified",)
"""What CREMA-D has of all sentences but one, which is no intensity."""


@studies.register("intensity")
class Intensity(Study):
    """Are strong emotions recognised better? CREMA-D and RAVDESS, speakers apart, by the intensity that they tell.

    Over the classes that were said in every intensity: neutral was not.
    """

    def variants(self, setting: Setting) -> list[Variant]:
        chosen = [part for part in setting.corpora if part in TOLD]
        if not chosen:
            raise ConfigError(
                f"study intensity: of --parts {', '.join(setting.parts)} none tells the intensity. Expected "
                f"{' or '.join(TOLD)}"
            )
        return [Variant(part, setting.alone(part, protocol=setting.request.protocol or "strict")) for part in chosen]

    def answer(self, done: Done) -> list[str]:
        groupings, untold = [], []
        for system, folders in done.items():
            try:
                groupings.append(group_by(system_of(folders), TOLD[system.variant], leave_out=NONE, common=True))
            except RunError as error:
                untold.append(f"{system.name}: {error}")
        return [*([groupings_text(groupings)] if groupings else []), *untold]
