"""The extended Geneva minimalistic acoustic parameter set (Eyben et al., IEEE TAC 7(2), 2016), by openSMILE."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from s3prl_emotion.upstreams.requirements import check_engineered, requires

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

RATE_HZ = 16000
HOP = 160  # samples, 10 ms
SHORTEST = 960  # samples: openSMILE's longest window, 60 ms, below which it gives NaN
LATE = 4  # frames that openSMILE has fewer than hops; S3PRL lets no more through


def _check(ckpt: str | None) -> None:
    check_engineered("egemaps", ckpt, "opensmile", "pip install opensmile (for research and education only)")


@requires(_check)
def egemaps(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """The 25 low-level descriptors of eGEMAPSv02 every 10 ms, as opensmile computes them.

    Shorter clips than 60 ms are padded with zeros up to there. openSMILE gives four or five frames fewer than there
    are steps of 10 ms; where it is five, the last one stands twice. openSMILE may be used for research and
    education only (audEERING's licence), and so may what is computed by it.

    Raises:
        UpstreamError: if opensmile is not installed, or a checkpoint is given
    """
    from s3prl_emotion.upstreams.engineered import FrameFeatures

    _check(ckpt)
    import opensmile

    levels, sets = opensmile.FeatureLevel, opensmile.FeatureSet
    smile = opensmile.Smile(feature_set=sets.eGeMAPSv02, feature_level=levels.LowLevelDescriptors)
    return FrameFeatures(functools.partial(_descriptors, smile), HOP)


def _descriptors(smile: Any, y: np.ndarray) -> np.ndarray:
    import numpy as np

    expected = max(1, round(len(y) / HOP)) - LATE
    heard = np.pad(y, (0, max(0, SHORTEST - len(y))))
    found: np.ndarray = smile.process_signal(heard, RATE_HZ).to_numpy()
    return np.pad(found, ((0, max(0, expected - len(found))), (0, 0)), mode="edge")
