"""Who is in a batch: all that can be, with whom they are compared, the same at every start."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.contrastive.sampler import Sampler, split_dev, usable
from s3prl_emotion.pretraining.contrastive.settings import DevSettings


def speech(seed: int = 0) -> tuple[list[str], list[int | None]]:
    """Speakers of all sorts: many and few utterances, one cluster, clusters of one, none at all."""
    rng = np.random.default_rng(seed)
    speakers, clusters = [], []
    for speaker in range(9):
        for _ in range(int(rng.integers(1, 40))):
            speakers.append(f"s{speaker}")
            clusters.append(int(rng.integers(1 + speaker % 5)))
    given: list[int | None] = [*clusters, None, 0, 1, 0]
    return [*speakers, "s1", "single", "two", "two"], given


def test_what_is_usable() -> None:
    speakers = ["a", "a", "a", "a", "a", "b", "b", "c", "d", "d", "d", "d"]
    clusters = [0, 0, 1, 1, 2, 0, 0, 0, 0, 0, None, None]
    assert usable(speakers, clusters) == {"a": {0: [0, 1], 1: [2, 3]}}
    assert usable([], []) == {}


@pytest.mark.parametrize(("speakers", "clusters", "utterances"), [(8, 2, 4), (3, 3, 2), (1, 2, 2), (50, 9, 50)])
def test_an_epoch_covers_everything_in_whole_batches(speakers: int, clusters: int, utterances: int) -> None:
    names, given = speech()
    groups = usable(names, given)
    sampler = Sampler(groups, speakers, clusters, utterances, 1, 3)
    wanted = {item for own in groups.values() for items in own.values() for item in items}
    assert wanted
    for epoch in range(3):
        batches = sampler.epoch(epoch)
        assert {item for batch in batches for item in batch} == wanted
        for batch in batches:
            assert len(set(batch)) == len(batch), "an utterance is in a batch once"
            members: dict[str, Counter[int]] = {}
            for item in batch:
                members.setdefault(names[item], Counter())[given[item] or 0] += 1
            assert len(members) == min(speakers, len(groups))
            for speaker, own in members.items():
                sizes = groups[speaker]
                assert len(own) == min(clusters, len(sizes))
                assert all(count == min(utterances, len(sizes[key])) for key, count in own.items())


def test_batches_follow_from_seed_and_step() -> None:
    groups = usable(*speech())

    def made(seed: int) -> Sampler:
        return Sampler(groups, 3, 2, 2, 2, seed)

    one = made(1)
    forwards = [one.members(step) for step in range(60)]
    assert all(len(parts) == 2 for parts in forwards)
    assert made(1).members(41) == forwards[41]
    assert one.members(7) == forwards[7], "and back again"
    assert made(2).members(7) != forwards[7]


def test_pairs_of_clusters_vary() -> None:
    """Every two of a speaker's four clusters are opposed before long."""
    groups = usable(["a"] * 16, [place % 4 for place in range(16)])
    sampler = Sampler(groups, 1, 2, 4, 1, 0)
    met = {frozenset(item % 4 for item in sampler.members(step)[0]) for step in range(60)}
    assert len(met) == 6


def test_nobody_gives_pairs() -> None:
    with pytest.raises(RunError, match="no speaker gives pairs: two clusters of at least two utterances"):
        Sampler(usable(["a", "b"], [0, 1]), 8, 2, 4, 1, 0)


@pytest.mark.parametrize("of", ["utterances", "speakers"])
def test_what_is_held_out_is_apart_and_gives_pairs(of: str) -> None:
    groups = usable(*speech())
    train, dev = split_dev(groups, DevSettings(of, 0.2), 1)
    flat = [{item for own in part.values() for items in own.values() for item in items} for part in (train, dev)]
    assert flat[1]
    assert not flat[0] & flat[1]
    assert flat[0] | flat[1] == {item for own in groups.values() for items in own.values() for item in items}
    for part in (train, dev):
        assert all(len(own) >= 2 and all(len(items) >= 2 for items in own.values()) for own in part.values())
    assert (of == "speakers") == (not set(train) & set(dev))
    assert split_dev(groups, DevSettings(of, 0.2), 1) == (train, dev)


def test_nothing_can_be_held_out() -> None:
    small = usable(["a"] * 4 + ["b"] * 4, [0, 0, 1, 1] * 2)
    with pytest.raises(RunError, match=r"two clusters of at least four utterances.*training.dev.of=speakers"):
        split_dev(small, DevSettings("utterances"), 0)
    alone = {"a": small["a"]}
    with pytest.raises(RunError, match=r"needs two speakers that give pairs, found a. .*training.dev.of=utterances"):
        split_dev(alone, DevSettings("speakers"), 0)
