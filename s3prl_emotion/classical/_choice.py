"""What of a run with a classical model is chosen beside upstream and classifier."""

from __future__ import annotations

from dataclasses import dataclass

from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.features.forms import STATISTICS, Form

LAYERS = ("average", "concat")


@dataclass(frozen=True)
class Choice:
    """How states become one vector, and where hyperparameters come from.

    Raises:
        ConfigError: naming the option
    """

    statistics: Form = "mean"
    """Over time: ``mean``, or ``mean_std``: the standard deviation (divided by the number of frames) after the mean."""
    layers: str = "average"
    """``average``: the statistics' mean over layers, which for means is the weighted sum with the equal weights that
    SUPERB's heads begin with; ``concat``: one layer after the other; or a layer's number, from 0. The default is ours:
    it is as wide as one layer, and chooses nothing."""
    tune: bool = False
    """Hyperparameters are chosen on each fold's dev set; otherwise they are the library's defaults."""

    def __post_init__(self) -> None:
        if self.statistics not in STATISTICS:
            raise ConfigError(f"--statistics: unknown name {self.statistics!r}. {suggest(self.statistics, STATISTICS)}")
        if self.layers not in LAYERS and not self.layers.isdecimal():
            raise ConfigError(
                f"--layers {self.layers!r}: expected average, concat, each, or the number of one layer, from 0"
            )

    @property
    def layer(self) -> int | None:
        """The one layer; None for several."""
        return int(self.layers) if self.layers.isdecimal() else None

    def tag(self) -> str:
        """What a run folder's name ends with; nothing for the defaults."""
        layers = f"layer{self.layer}" if self.layer is not None else self.layers
        parts = [
            text
            for text, is_default in (
                (self.statistics, self.statistics == "mean"),
                (layers, self.layers == "average"),
                ("tuned", not self.tune),
            )
            if not is_default
        ]
        return "-".join(parts)

    def words(self) -> str:
        """For people."""
        statistics = {"mean": "time mean", "mean_std": "time mean and standard deviation"}[self.statistics]
        layers = {"average": "averaged over layers", "concat": "of all layers, concatenated"}
        chosen = "chosen on each fold's dev set" if self.tune else "the library's defaults, dev sets not used"
        return (
            f"{statistics} {layers.get(self.layers, f'of layer {self.layers}')}, standardised on train; "
            f"hyperparameters: {chosen}"
        )
