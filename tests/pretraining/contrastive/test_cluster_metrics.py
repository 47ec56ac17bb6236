"""Agreement of clusters with facts, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import adjusted_mutual_info_score

from s3prl_emotion.pretraining.contrastive.analysis import Speaker, measure_agreement, summarise_speakers


@pytest.mark.parametrize("seed", range(8))
def test_adjusted_mutual_information_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(6, 60))
    clusters = [0, 1, *rng.integers(0, int(rng.integers(2, 7)), count - 2).tolist()]
    facts = ["a", "b", *rng.choice(list("abcd"), count - 2).tolist()]
    found = measure_agreement(clusters, facts, 3, np.random.default_rng(9))
    assert found.found["ami"] == pytest.approx(adjusted_mutual_info_score(facts, clusters), abs=1e-12)
    drawn = np.random.default_rng(9)
    for number in range(3):
        other = drawn.permutation(np.asarray(_coded(clusters)))
        assert found.chance["ami"][number] == pytest.approx(adjusted_mutual_info_score(facts, other), abs=1e-12)


def _coded(values: list[int]) -> list[int]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return [numbers[value] for value in values]


def test_purity_by_hand() -> None:
    clusters = [0, 0, 0, 1, 1, 2]
    facts = ["a", "a", "b", "b", "b", "a"]
    assert measure_agreement(clusters, facts, 1, np.random.default_rng(0)).found["purity"] == pytest.approx(
        (2 + 2 + 1) / 6
    )


def test_the_same_and_chance() -> None:
    clusters = [0, 1, 2, 3] * 10
    same = measure_agreement(clusters, [str(number) for number in clusters], 500, np.random.default_rng(0))
    assert same.found == {"ami": pytest.approx(1), "purity": 1}
    assert abs(same.chance["ami"].mean()) < 0.02
    assert same.chance["ami"].max() < 1


def test_one_kind_says_nothing() -> None:
    with pytest.raises(ValueError, match="expected two clusters and two facts at least, got 1 and 2"):
        measure_agreement([0, 0], ["a", "b"], 1, np.random.default_rng(0))


def _speaker(found: float, chance: list[float]) -> Speaker:
    return Speaker(10, {"ami": found}, {"ami": np.array(chance)})


def test_mean_interval_and_p_by_hand() -> None:
    """Three speakers, four random clusterings: the means of chance are 0.1, 0.2, 0.5 and 0.0; found is 0.4."""
    speakers = [
        _speaker(0.3, [0.1, 0.1, 0.5, 0.0]),
        _speaker(0.4, [0.1, 0.2, 0.5, 0.0]),
        _speaker(0.5, [0.1, 0.3, 0.5, 0.0]),
    ]
    whole = summarise_speakers(speakers, "ami")
    assert whole.found == pytest.approx(0.4)
    assert whole.chance == pytest.approx(0.2)
    assert whole.p == pytest.approx((1 + 1) / (1 + 4))
    differences = [0.3 - 0.175, 0.4 - 0.2, 0.5 - 0.225]
    expected = stats.t.interval(0.95, 2, np.mean(differences), stats.sem(differences))
    assert whole.interval == pytest.approx(expected)
    assert summarise_speakers(speakers[:1], "ami").interval is None


def test_p_is_uniform_where_clusters_mean_nothing() -> None:
    """Of 200 made-up corpora without any relation, about a tenth are below 0.1."""
    rng = np.random.default_rng(4)
    below = 0
    for _ in range(200):
        speakers = [
            measure_agreement(rng.permutation([0, 1, 2, 3] * 4).tolist(), list("abcd" * 4), 49, rng) for _ in range(3)
        ]
        below += summarise_speakers(speakers, "ami").p <= 0.1
    assert 8 <= below <= 34  # binomial, 200 x 0.1: beyond 3 standard deviations
