"""Studies: a question as a list of requests, worked off by one process or several, and a table that answers it.

Studies of one subject share a file. A new one is one new file here, or in a folder ``studies`` of a user's own:

.. code-block:: python

    from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies


    @studies.register("first-seconds")
    class FirstSeconds(Study):
        '''How much of an utterance is needed?'''

        def variants(self, setting: Setting) -> list[Variant]:
            key = "config.downstream_expert.datarc.max_duration_s"
            return [Variant(f"{s} s", setting.changed(override=f"{key}={s}", tag=f"{s}s")) for s in (1, 2, 4)]
"""

from __future__ import annotations

from s3prl_emotion.experiment.studies.base import Setting, Study, Variant
from s3prl_emotion.registry import Registry

__all__ = ["Setting", "Study", "Variant", "studies"]

studies: Registry[type[Study]] = Registry("study", "s3prl_emotion.experiment.studies")
"""Every study by name."""
