"""XGBoost."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _make(seed: int, **options: Any) -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(random_state=seed, n_jobs=1, **options)


classifiers.register("xgboost")(
    Classifier(
        "gradient-boosted trees, 100 rounds of depth 6 (XGBoost)",
        _make,
        {"max_depth": (6, 3), "learning_rate": (0.3, 0.1)},
        package="xgboost",
        distributions=("xgboost-cpu", "xgboost"),  # the second brings CUDA libraries along
    )
)
