"""Classifiers of vectors, from scikit-learn, LightGBM and XGBoost."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _bayes_make(seed: int, **options: Any) -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(**options)


classifiers.register("bayes")(
    Classifier("Gaussian naive Bayes (scikit-learn)", _bayes_make, {"var_smoothing": (1e-9, 1e-3, 1e-1)})
)


def _forest_make(seed: int, **options: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(random_state=seed, n_jobs=1, **options)


classifiers.register("forest")(
    Classifier("random forest of 100 trees (scikit-learn)", _forest_make, {"min_samples_leaf": (1, 3, 10)})
)


def _knn_make(seed: int, **options: Any) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_jobs=1, **options)


classifiers.register("knn")(
    Classifier(
        "k nearest neighbours, 5 by Euclidean distance (scikit-learn)", _knn_make, {"n_neighbors": (5, 1, 15)}, least=1
    )
)


def _lightgbm_make(seed: int, **options: Any) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(random_state=seed, n_jobs=1, deterministic=True, force_row_wise=True, verbosity=-1, **options)


classifiers.register("lightgbm")(
    Classifier(
        "gradient-boosted trees, 100 rounds of 31 leaves (LightGBM)",
        _lightgbm_make,
        {"num_leaves": (31, 7), "learning_rate": (0.1, 0.05)},
        package="lightgbm",
        distributions=("lightgbm",),
    )
)


def _logistic_make(seed: int, **options: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(random_state=seed, **options)


classifiers.register("logistic")(
    Classifier(
        "multinomial logistic regression, L2, C 1 (scikit-learn)", _logistic_make, {"C": (1.0, 0.001, 0.01, 0.1, 10.0)}
    )
)


def _mlp_make(seed: int, **options: Any) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(random_state=seed, **options)


classifiers.register("mlp")(
    Classifier(
        "multilayer perceptron with a hidden layer of 100, Adam (scikit-learn)", _mlp_make, {"alpha": (1e-4, 1e-2, 1.0)}
    )
)


PARTS = 5
"""scikit-learn's default of cross-validation within the training part, for probabilities."""


def _svm_make(seed: int, **options: Any) -> Any:
    """Platt's sigmoid on the decisions of cross-validation, as ``SVC(probability=True)`` of older versions.

    The class is the most probable one, which near a border need not be the side that the decision is on.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    return CalibratedClassifierCV(SVC(random_state=seed, **options), ensemble=False, cv=PARTS, n_jobs=1)


classifiers.register("svm")(
    Classifier(
        "support vector machine, RBF kernel, C 1, Platt's probabilities (scikit-learn)",
        _svm_make,
        {"C": (1.0, 0.1, 10.0)},
        least=PARTS,
    )
)


def _tree_make(seed: int, **options: Any) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(random_state=seed, **options)


classifiers.register("tree")(
    Classifier("decision tree, grown to its end (scikit-learn)", _tree_make, {"max_depth": (None, 4, 8)})
)


def _xgboost_make(seed: int, **options: Any) -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(random_state=seed, n_jobs=1, **options)


classifiers.register("xgboost")(
    Classifier(
        "gradient-boosted trees, 100 rounds of depth 6 (XGBoost)",
        _xgboost_make,
        {"max_depth": (6, 3), "learning_rate": (0.3, 0.1)},
        package="xgboost",
        distributions=("xgboost-cpu", "xgboost"),  # the second brings CUDA libraries along
    )
)
