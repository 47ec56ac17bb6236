"""LightGBM."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _make(seed: int, **options: Any) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(random_state=seed, n_jobs=1, deterministic=True, force_row_wise=True, verbosity=-1, **options)


classifiers.register("lightgbm")(
    Classifier(
        "gradient-boosted trees, 100 rounds of 31 leaves (LightGBM)",
        _make,
        {"num_leaves": (31, 7), "learning_rate": (0.1, 0.05)},
        package="lightgbm",
        distributions=("lightgbm",),
    )
)
