"""What every registered classifier must keep; one that is added is found by itself."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
import pytest

from s3prl_emotion.classical import Classifier, classifier_of, classifiers
from s3prl_emotion.classical.model import Model, tuned
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.evaluation.metrics import ua

NAMES = classifiers.names()
LABELS = ["a", "b", "c"]


def blobs(count: int = 90, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping clouds, whose features have units of very different size."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = rng.standard_normal((count, width)) + 1.2 * np.eye(3, width)[y]
    return x * 10.0 ** np.arange(-2, width - 2), y


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    if find_spec(classifiers.get(request.param).package) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def by_hand(name: str, seed: int):
    """The same by scikit-learn's own names, typed here again."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    if name == "xgboost":
        from xgboost import XGBClassifier

        return XGBClassifier(random_state=seed, n_jobs=1)
    if name == "lightgbm":
        from lightgbm import LGBMClassifier

        return LGBMClassifier(random_state=seed, n_jobs=1, verbosity=-1)
    return {
        "knn": KNeighborsClassifier(),
        "mlp": MLPClassifier(random_state=seed),
        "logistic": LogisticRegression(),
        "forest": RandomForestClassifier(random_state=seed),
        "bayes": GaussianNB(),
        "tree": DecisionTreeClassifier(random_state=seed),
        "svm": CalibratedClassifierCV(SVC(), ensemble=False),
    }[name]


def test_the_names_are_those_of_the_nine() -> None:
    assert set(NAMES) == {"knn", "mlp", "xgboost", "lightgbm", "logistic", "forest", "bayes", "tree", "svm"}


def test_predictions_are_the_librarys_own(name: str) -> None:
    """Scaled by mean and standard deviation of the training part, fitted with the library's defaults."""
    (x, y), (new, _) = blobs(), blobs(40, seed=1)
    estimator = by_hand(name, seed=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit((x - x.mean(axis=0)) / x.std(axis=0), y)
        scaled = (new - x.mean(axis=0)) / x.std(axis=0)
        expected, classes = estimator.predict_proba(scaled), estimator.predict(scaled)
    found = Model(name, {}, 7, x, y, 3).probabilities(new)
    assert found == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(found.argmax(axis=1), classes)


def test_the_seed_decides_everything(name: str) -> None:
    (x, y), (new, _) = blobs(), blobs(40, seed=1)
    np.random.seed(0)
    first = Model(name, {}, 3, x, y, 3).probabilities(new)
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    assert np.array_equal(Model(name, {}, 3, x, y, 3).probabilities(new), first)
    assert np.array_equal(np.random.get_state()[1], state), "the global generator was used"


def test_probabilities_sum_to_1_and_a_class_that_train_lacks_has_none(name: str) -> None:
    x, y = blobs()
    found = Model(name, {}, 0, x[y != 1], y[y != 1], 3).probabilities(x)
    assert found.shape == (90, 3)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert not found[:, 1].any()
    assert found.min() >= 0


def test_one_recording_is_as_among_others(name: str) -> None:
    (x, y), (new, _) = blobs(), blobs(5, seed=1)
    model = Model(name, {}, 0, x, y, 3)
    alone = np.concatenate([model.probabilities(row[None]) for row in new])
    assert alone == pytest.approx(model.probabilities(new), abs=1e-9)


def test_one_constant_feature_does_no_harm(name: str) -> None:
    x, y = blobs()
    x[:, 2] = 4.0
    assert np.isfinite(Model(name, {}, 0, x, y, 3).probabilities(x)).all()


def test_the_grid_begins_with_the_librarys_defaults(name: str) -> None:
    classifier = classifiers.get(name)
    default = next(classifier.candidates())
    assert 3 <= len(list(classifier.candidates())) <= 6
    assert set(default) == set(classifier.grid)
    (x, y), (new, _) = blobs(), blobs(40, seed=1)
    found = [Model(name, options, 0, x, y, 3).probabilities(new) for options in ({}, default)]
    assert np.array_equal(*found)


def test_tuning_takes_what_is_best_on_dev(name: str) -> None:
    train, dev = blobs(60), blobs(60, seed=1)
    chosen = tuned(name, 0, train, dev, LABELS, ua, "fold 1")
    truth = [LABELS[index] for index in dev[1]]

    def score(options: dict) -> float:
        model = Model(name, options, 0, *train, 3)
        return ua(truth, [LABELS[index] for index in model.probabilities(dev[0]).argmax(axis=1)], LABELS)

    scores = {str(options): score(options) for options in classifiers.get(name).candidates()}
    best = max(scores.values())
    assert str(chosen.options) == next(options for options, value in scores.items() if value == best)


def test_what_cannot_be_learned_from_is_refused(name: str) -> None:
    x, y = blobs(30)
    with pytest.raises(RunError, match=r"fold 1: classifier '\w+': feature 1 of training utterance 3 is nan"):
        broken = x.copy()
        broken[3, 1] = np.nan
        Model(name, {}, 0, broken, y, 3, "fold 1")
    with pytest.raises(RunError, match="all 6 features are constant over the 30 training utterances"):
        Model(name, {}, 0, np.ones_like(x), y, 3)
    with pytest.raises(RunError, match="all 6 features are zero but for rounding"):
        Model(name, {}, 0, 1e-7 * x / x.std(axis=0), y, 3)
    with pytest.raises(RunError, match="one class only"):
        Model(name, {}, 0, x[y == 1], y[y == 1], 3)
    with pytest.raises(RunError, match="the dev set, which is empty"):
        tuned(name, 0, (x, y), (x[:0], y[:0]), LABELS, ua, "fold 1")


def test_features_that_hardly_differ_are_told(caplog) -> None:
    """Zero means and deviations of 1 but for the number of frames, as of an upstream that normalises utterances."""
    frames = np.arange(90, 180)[:, None]
    normalised = np.concatenate((1e-8 * frames * [1, 2], np.sqrt(1 - 1 / frames) * [1, 1]), axis=1)
    Model("bayes", {}, 0, normalised, np.arange(90) % 3, 3, "fold 1")
    assert "fold 1: classifier 'bayes': all 4 features differ by less than 1 % between utterances" in caplog.text
    caplog.clear()
    Model("bayes", {}, 0, *blobs(), 3)
    assert not caplog.records


def test_a_support_vector_machine_needs_five_of_each_class() -> None:
    x, y = blobs(30)
    few = np.concatenate([np.flatnonzero(y != 2), np.flatnonzero(y == 2)[:4]])
    with pytest.raises(RunError, match=r"into 5, for its probabilities, and one class has 4 utterances there"):
        Model("svm", {}, 0, x[few], y[few], 3)
    Model("knn", {}, 0, x[few], y[few], 3)


def test_a_missing_library_and_unknown_names() -> None:
    absent = Classifier("none", lambda seed: None, package="not_there_at_all", distributions=("not-there",))
    with pytest.raises(ConfigError, match=r"'x' needs not_there_at_all, .* pip install not-there"):
        absent.check_installed("x")
    assert absent.versions().keys() == {"scikit-learn"}
    with pytest.raises(ConfigError, match=r"unknown classifier 'logistc'\. Did you mean 'logistic'"):
        classifier_of("classical_logistc")
    assert classifier_of("emotion_mean") is None
    assert classifier_of("classical_svm") == "svm"
