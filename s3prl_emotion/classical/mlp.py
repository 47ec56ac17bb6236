"""A multilayer perceptron."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _make(seed: int, **options: Any) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(random_state=seed, **options)


classifiers.register("mlp")(
    Classifier(
        "multilayer perceptron with a hidden layer of 100, Adam (scikit-learn)", _make, {"alpha": (1e-4, 1e-2, 1.0)}
    )
)
