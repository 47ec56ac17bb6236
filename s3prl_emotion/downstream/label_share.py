"""A share of the training part: as if fewer labels were there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import ConfigError

_STREAM = 7  # of the generator, beside those of batches, which are drawn from (seed, epoch)


def draw_share(manifest: Manifest, ids: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """``round(share * len(ids))`` utterances, stratified by speaker and class, in their order.

    Within each speaker and class utterances are put in random order; the k-th of n has the place (k + u) / n, with u
    drawn once in [0, 1) for each stratum. Those with the smallest places are taken, so that every stratum gives its
    share, rounded at random. The first of every class comes before all others: none is lost. A smaller share under the
    same seed is a part of a larger one.

    Args:
        manifest: knows speakers and classes
        ids: the training part
        share: in (0, 1]; 1 changes nothing
        seed: draws

    Raises:
        ConfigError: if that is less than one utterance of each class
    """
    if share >= 1:
        return tuple(ids)
    count = round(share * len(ids))
    strata: dict[tuple[str, str], list[str]] = {}
    for name in ids:
        item = manifest.by_id[name]
        strata.setdefault((item.label, item.speaker), []).append(name)
    classes = {label for label, _ in strata}
    if count < len(classes):
        raise ConfigError(
            f"--train-share {share:g}: {count} of {len(ids)} training utterances are fewer than the {len(classes)} "
            f"classes of {manifest.corpus}. Take a larger share"
        )
    place: dict[str, float] = {}
    for number, stratum in enumerate(sorted(strata)):
        members = sorted(strata[stratum])
        drawn = np.random.default_rng([seed, _STREAM, number])
        begin = drawn.random()
        for rank, index in enumerate(drawn.permutation(len(members))):
            place[members[index]] = (rank + begin) / len(members)
    first: dict[str, str] = {}
    for name in sorted(ids, key=lambda name: (place[name], name)):
        first.setdefault(manifest.by_id[name].label, name)
    leading = set(first.values())
    taken = set(sorted(ids, key=lambda name: (name not in leading, place[name], name))[:count])
    return tuple(name for name in ids if name in taken)
