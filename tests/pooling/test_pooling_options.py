"""Names and options of poolings, as a configuration gives them."""

from __future__ import annotations

import pytest

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.pooling import Pooling, poolings

CORRELATIONS = ["correlation", "attentive_correlation"]


def test_names() -> None:
    assert {"mean", "mean_std", "correlation", "attentive_correlation", "attention"} <= set(poolings.names())


def test_entries_are_poolings() -> None:
    assert all(issubclass(poolings.get(name), Pooling) for name in poolings.names())


@pytest.mark.parametrize(
    ("name", "size"),
    [("mean", 256), ("mean_std", 512), ("correlation", 32640), ("attentive_correlation", 32640), ("attention", 256)],
)
def test_output_sizes_of_the_paper(name: str, size: int) -> None:
    assert poolings.build(name, {}, input_size=256).output_size == size


@pytest.mark.parametrize("name", CORRELATIONS)
def test_defaults_of_the_paper(name: str) -> None:
    pooling = poolings.build(name, {}, input_size=4)
    assert (pooling.channel_dropout, pooling.eps, pooling.variant) == (0.25, 1e-8, "paper")
    assert getattr(pooling, "heads", 4) == 4
    assert "channel_dropout=0.25" in repr(pooling)


def test_the_paper_gives_the_attention_layer_no_bias() -> None:
    shapes = {
        key: tuple(value.shape)
        for key, value in poolings.build("attentive_correlation", {}, input_size=6).state_dict().items()
    }
    assert shapes == {"attention.weight": (6, 6), "queries.weight": (4, 6), "queries.bias": (4,)}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("variant", "relased", "variant must be one of paper, released, got 'relased'"),
        ("variant", None, "variant must be one of paper, released, got None"),
        ("channel_dropout", 1.0, r"channel_dropout must be a number in \[0, 1\), got 1.0"),
        ("channel_dropout", -0.1, r"channel_dropout must be a number in \[0, 1\), got -0.1"),
        ("channel_dropout", True, r"channel_dropout must be a number in \[0, 1\), got True"),
        ("channel_dropout", "a quarter", "channel_dropout must be a number"),
        ("eps", 0, "eps must be a finite number above 0, got 0"),
        ("eps", float("nan"), "eps must be a finite number above 0, got nan"),
        ("eps", float("inf"), "eps must be a finite number above 0, got inf"),
        ("eps", "1e-8", "eps must be a number above 0, got the text '1e-8' .*1.0e-8"),
    ],
)
@pytest.mark.parametrize("name", CORRELATIONS)
def test_wrong_options(name: str, option: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        poolings.get(name)(6, **{option: value})
    with pytest.raises(ConfigError, match=f"demo.yaml: pooling '{name}': {message}"):
        poolings.build(name, {option: value}, "demo.yaml", input_size=6)


@pytest.mark.parametrize("heads", [0, -1, 2.0, "4", True])
def test_wrong_heads(heads: object) -> None:
    with pytest.raises(ValueError, match="heads must be a whole number of at least 1"):
        poolings.get("attentive_correlation")(6, heads=heads)  # type: ignore[call-arg]


def test_wrong_variant_of_mean_std() -> None:
    with pytest.raises(ValueError, match="variant must be one of"):
        poolings.get("mean_std")(6, variant="fixed")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", CORRELATIONS)
def test_one_channel_has_no_correlations(name: str) -> None:
    with pytest.raises(ValueError, match="input_size of correlations must be a whole number of at least 2, got 1"):
        poolings.get(name)(1)


@pytest.mark.parametrize("name", poolings.names())
def test_unknown_option(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown option 'nheads'"):
        poolings.build(name, {"nheads": 4}, input_size=6)


def test_a_pooling_without_pool_cannot_be_made() -> None:
    class Nothing(Pooling):
        output_size = 1

    with pytest.raises(TypeError, match=r"abstract method '?pool'?"):
        Nothing(2)
