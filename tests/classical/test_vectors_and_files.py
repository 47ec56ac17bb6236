"""From statistics to vectors, and a fitted model through its file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from s3prl_emotion.classical import Choice
from s3prl_emotion.classical.model import FORMAT, FittedOn, Model, read_model, vectors, write_model
from s3prl_emotion.errors import ConfigError, RunError

STATISTICS = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)  # utterances, layers, mean and std, width


def test_vectors_by_hand() -> None:
    assert vectors(STATISTICS, Choice("mean_std", "average"))[0].tolist() == [4, 5, 6, 7]  # of 0 4 8, 1 5 9, ...
    assert vectors(STATISTICS, Choice("mean_std", "1"))[1].tolist() == [16, 17, 18, 19]
    assert vectors(STATISTICS, Choice("mean_std", "concat"))[0].tolist() == list(range(12))
    assert vectors(STATISTICS, Choice()).dtype == np.float64
    with pytest.raises(RunError, match="--layers 3: the upstream has layers 0 to 2"):
        vectors(STATISTICS, Choice(layers="3"))


def test_choices_are_named_and_refused() -> None:
    assert Choice().tag() == ""
    assert Choice("mean_std", "07", True).tag() == "mean_std-layer7-tuned"
    assert Choice(layers="concat").tag() == "concat"
    with pytest.raises(ConfigError, match=r"--layers 'eahc': expected average, concat, each, or the number"):
        Choice(layers="eahc")
    with pytest.raises(ConfigError, match=r"--layers '-1'"):
        Choice(layers="-1")
    with pytest.raises(ConfigError, match=r"--statistics: unknown name 'median'\. .*Known: mean, mean_std"):
        Choice(statistics="median")  # type: ignore[arg-type]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), np.arange(40) % 4
    fitted_on = FittedOn("fbank", None, None, "hidden_states", Choice("mean_std"), "demo", ("a", "b", "c", "d"), 2)
    path = tmp_path / "classical.safetensors"
    write_model(path, Model("forest", {"min_samples_leaf": 3}, 5, x, y, 4), x, y, fitted_on)
    return path


def test_a_model_comes_back_as_it_was(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), np.arange(40) % 4
    new = rng.standard_normal((7, 3))
    model, about = read_model(written)
    assert np.array_equal(
        model.probabilities(new), Model("forest", {"min_samples_leaf": 3}, 5, x, y, 4).probabilities(new)
    )
    assert about.fitted_on.choice == Choice("mean_std")
    assert about.fitted_on.labels == ("a", "b", "c", "d")
    assert about.versions.keys() == {"scikit-learn"}
    assert not caplog.records


def changed(path: Path, **arrays: np.ndarray) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        told = file.metadata()
    save_file({**load_file(path), **arrays}, path, told)


def retold(path: Path, **about: object) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        told = json.loads(file.metadata()["about"])
    save_file(load_file(path), path, {"format": FORMAT, "about": json.dumps({**told, **about})})


def test_the_same_model_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    """The library keeps metadata in a hash map of another order each time."""
    model, about = read_model(written)
    arrays = load_file(written)
    for number in range(20):
        write_model(tmp_path / f"{number}", model, arrays["x"], arrays["y"], about.fitted_on)
        assert (tmp_path / f"{number}").read_bytes() == written.read_bytes()


def test_another_fit_than_the_one_that_was_scored_is_told(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    changed(written, answers=load_file(written)["answers"][::-1].copy())
    read_model(written)
    assert "it differs from the model that was scored" in caplog.text
    assert "scikit-learn" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be read as safetensors"),
        (lambda path: path.write_bytes(b""), "cannot be read as safetensors"),
        (lambda path: save_file({"x": np.ones(3)}, path), "not a classical model of this version"),
        (lambda path: changed(path, y=np.full(40, 4)), "vectors, labels and answers do not fit each other"),
        (lambda path: changed(path, x=np.ones((3, 3))), "vectors, labels and answers do not fit each other"),
        (lambda path: retold(path, classifier="forrest"), "unknown classifier 'forrest'"),
        (
            lambda path: retold(path, options={"n_estimators": 10**9}),
            "option 'n_estimators' is 1000000000, expected at",
        ),
        (lambda path: retold(path, options={"trees": 3}), "forest cannot be fitted with {'trees': 3}"),
        (lambda path: retold(path, seed=-1), "forest cannot be fitted"),
        (lambda path: retold(path, color="red"), "about: unknown key 'color'"),
        (lambda path: retold(path, fitted_on={}), "about.fitted_on: missing key 'upstream'"),
        (lambda path: changed(path, x=np.full((40, 3), np.nan)), "feature 0 of training utterance 0 is nan"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_spoilt_file_is_named(written: Path, spoil, says: str) -> None:
    spoil(written)
    with pytest.raises((RunError, ConfigError)) as told:
        read_model(written)
    assert says in str(told.value)
    assert str(written) in str(told.value)


def test_choices_are_read_from_files_by_their_names() -> None:
    from s3prl_emotion.config import from_mapping

    content = dataclasses.asdict(Choice("mean_std"))
    assert from_mapping(Choice, content, "x") == Choice("mean_std")
    with pytest.raises(ConfigError, match=r"x\.statistics: unknown name 'men'\. Did you mean 'mean'"):
        from_mapping(Choice, {**content, "statistics": "men"}, "x")
