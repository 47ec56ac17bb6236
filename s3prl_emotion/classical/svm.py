"""A support vector machine."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers

PARTS = 5
"""scikit-learn's default of cross-validation within the training part, for probabilities."""


def _make(seed: int, **options: Any) -> Any:
    """Platt's sigmoid on the decisions of cross-validation, as ``SVC(probability=True)`` of older versions.

    The class is the most probable one, which near a border need not be the side that the decision is on.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    return CalibratedClassifierCV(SVC(random_state=seed, **options), ensemble=False, cv=PARTS, n_jobs=1)


classifiers.register("svm")(
    Classifier(
        "support vector machine, RBF kernel, C 1, Platt's probabilities (scikit-learn)",
        _make,
        {"C": (1.0, 0.1, 10.0)},
        least=PARTS,
    )
)
