"""openSMILE's feature sets by utterance: eGeMAPSv02 (Eyben et al., IEEE TAC 7(2), 2016) and ComParE 2016 (Schuller et
al., Interspeech 2016).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from s3prl_emotion.upstreams.requirements import Check, check_engineered, per_utterance, requires

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

RATE_HZ = 16000
SHORTEST = 960  # samples: openSMILE's longest window, 60 ms, below which it gives NaN


def _check_of(name: str) -> Check:
    def check(ckpt: str | None) -> None:
        check_engineered(name, ckpt, "opensmile", "pip install opensmile (for research and education only)")

    return check


@per_utterance
@requires(_check_of("egemaps_functionals"))
def egemaps_functionals(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """The 88 functionals of eGeMAPSv02, one vector for each utterance, as opensmile computes them.

    Shorter clips than 60 ms are padded with zeros up to there. openSMILE may be used for research and education only
    (audEERING's licence), and so may what is computed by it.

    Raises:
        UpstreamError: if opensmile is not installed, or a checkpoint is given
    """
    return _functionals("egemaps_functionals", "eGeMAPSv02", ckpt)


@per_utterance
@requires(_check_of("compare_functionals"))
def compare_functionals(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """The 6373 functionals of ComParE 2016, one vector for each utterance, as opensmile computes them.

    Shorter clips than 60 ms are padded with zeros up to there. openSMILE may be used for research and education only
    (audEERING's licence), and so may what is computed by it.

    Raises:
        UpstreamError: if opensmile is not installed, or a checkpoint is given
    """
    return _functionals("compare_functionals", "ComParE_2016", ckpt)


def _functionals(name: str, feature_set: str, ckpt: str | None) -> nn.Module:
    from s3prl_emotion.upstreams.engineered import UTTERANCE, FrameFeatures

    _check_of(name)(ckpt)
    import opensmile

    smile = opensmile.Smile(getattr(opensmile.FeatureSet, feature_set), opensmile.FeatureLevel.Functionals)
    return FrameFeatures(functools.partial(_computed, smile), UTTERANCE)


def _computed(smile: Any, y: np.ndarray) -> np.ndarray:
    import numpy as np

    heard = np.pad(y, (0, max(0, SHORTEST - len(y))))
    return np.array(smile.process_signal(heard, RATE_HZ))  # a copy, which torch may own
