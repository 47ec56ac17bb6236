"""What is held out to choose the checkpoint by. How the paper chose is not known: both ways are ours."""

from __future__ import annotations

from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.batches import generator
from s3prl_emotion.pretraining.contrastive.settings import DevSettings

Groups = dict[str, dict[int, list[int]]]
"""Utterances by speaker and cluster."""


def split_dev(groups: Groups, settings: DevSettings, seed: int) -> tuple[Groups, Groups]:
    """What is trained on, and what is held out. Each gives pairs by itself.

    ``utterances``: of each cluster that keeps two, a share and at least two, where two of a speaker's clusters can give
    as many. ``speakers``: a share of the speakers and at least one, with all that is theirs.

    Raises:
        RunError: if nothing can be held out
    """
    held = _speakers(groups, settings, seed) if settings.of == "speakers" else _utterances(groups, settings, seed)
    train: Groups = {}
    for speaker, own in groups.items():
        out = held.get(speaker, {})
        kept = {key: [item for item in items if item not in set(out.get(key, ()))] for key, items in own.items()}
        kept = {key: items for key, items in kept.items() if items}
        if kept:
            train[speaker] = kept
    return train, held


def _speakers(groups: Groups, settings: DevSettings, seed: int) -> Groups:
    names = list(groups)
    if len(names) < 2:
        raise RunError(
            f"training.dev.of: speakers needs two speakers that give pairs, found {', '.join(names) or 'none'}. Hold "
            "out utterances: -o training.dev.of=utterances"
        )
    count = min(len(names) - 1, max(1, round(settings.share * len(names))))
    order = generator(seed, "dev", 0, 0).permutation(len(names)).tolist()
    chosen = {names[place] for place in order[:count]}
    return {name: own for name, own in groups.items() if name in chosen}


def _utterances(groups: Groups, settings: DevSettings, seed: int) -> Groups:
    drawn = generator(seed, "dev", 0, 0)
    held: Groups = {}
    for speaker, own in groups.items():
        out: dict[int, list[int]] = {}
        for key, items in own.items():
            count = max(2, round(settings.share * len(items)))
            order = drawn.permutation(len(items)).tolist()
            if len(items) - count >= 2:
                out[key] = [items[place] for place in sorted(order[:count])]
        if len(out) >= 2:
            held[speaker] = out
    if not held:
        raise RunError(
            "training.dev.of: utterances needs a speaker with two clusters of at least four utterances: two to train "
            "on and two to hold out. Hold out whole speakers: -o training.dev.of=speakers"
        )
    return held
