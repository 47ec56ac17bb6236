"""A share of the training part: how many, of whom, and the same for every larger one."""

from __future__ import annotations

from collections import Counter

import pytest

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.downstream.label_share import draw_share
from s3prl_emotion.errors import ConfigError


def _manifest(of_each: int, speakers: int = 4) -> Manifest:
    items = [
        Utterance(f"{speaker}-{label}-{number}", "a.wav", label, f"s{speaker}")
        for speaker in range(speakers)
        for label in ("ang", "sad")
        for number in range(of_each)
    ]
    return Manifest("toy", ("ang", "sad"), "/", tuple(items))


MANIFEST = _manifest(10)
IDS = [item.id for item in MANIFEST.utterances]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.3, 0.5])
def test_every_speaker_and_class_gives_its_share(share: float) -> None:
    found = draw_share(MANIFEST, IDS, share, 3)
    assert len(found) == round(share * len(IDS))
    assert list(found) == [name for name in IDS if name in set(found)], "their order stays"
    of_each = Counter(name.rpartition("-")[0] for name in found)
    assert len(of_each) == 8
    assert all(abs(count - share * 10) < 1.0 + 1e-9 for count in of_each.values()), of_each


def test_drawn_by_the_seed_alone() -> None:
    assert draw_share(MANIFEST, IDS, 0.3, 3) == draw_share(MANIFEST, IDS, 0.3, 3)
    assert draw_share(MANIFEST, IDS, 0.3, 3) != draw_share(MANIFEST, IDS, 0.3, 4)
    assert set(draw_share(MANIFEST, IDS[::-1], 0.3, 3)) == set(draw_share(MANIFEST, IDS, 0.3, 3))
    assert set(draw_share(MANIFEST, IDS, 0.1, 3)) < set(draw_share(MANIFEST, IDS, 0.3, 3)) < set(IDS)
    assert draw_share(MANIFEST, IDS, 1.0, 3) == tuple(IDS)


def test_no_class_is_lost() -> None:
    small = _manifest(1, speakers=20)
    rare = Manifest("toy", ("ang", "joy", "sad"), "/", (*small.utterances, Utterance("j", "a.wav", "joy", "s1")))
    ids = [item.id for item in rare.utterances]
    for seed in range(20):
        found = draw_share(rare, ids, 0.1, seed)
        assert {rare.by_id[name].label for name in found} == {"ang", "joy", "sad"}
        assert len(found) == 4


def test_less_than_one_of_each_class_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"--train-share 0.01: 1 of 80 training utterances are fewer than the 2 classes"
    ):
        draw_share(MANIFEST, IDS, 0.01, 3)
