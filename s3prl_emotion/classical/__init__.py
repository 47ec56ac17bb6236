"""Classical models on time statistics of any upstream's states; ``estimators.py`` has the classifiers.

A new one is one new file; ``-d classical_<name>`` and ``classical --classifier <name>`` then know it:

.. code-block:: python

    from s3prl_emotion.classical import Classifier, classifiers


    def _make(seed, **options):
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        return LinearDiscriminantAnalysis(**options)


    classifiers.register("lda")(Classifier("linear discriminant analysis", _make, {"tol": (1e-4, 1e-2)}))

``tests/classical/test_classifier_contract.py`` holds every registered classifier to what :class:`Classifier` promises.
Importing this loads no scikit-learn.
"""

from __future__ import annotations

from s3prl_emotion.classical.options import Choice, Classifier
from s3prl_emotion.registry import Registry

__all__ = ["PREFIX", "Choice", "Classifier", "classifier_of", "classifiers"]

PREFIX = "classical_"
"""A ``-d`` name that begins so names a classifier."""

classifiers: Registry[Classifier] = Registry("classifier", "s3prl_emotion.classical")
"""Every classifier by name."""


def classifier_of(downstream: str) -> str | None:
    """The classifier that a ``-d`` name names; None where it names a neural head.

    Raises:
        ConfigError: if there is no such classifier; the message suggests near ones
    """
    if not downstream.startswith(PREFIX):
        return None
    name = downstream.removeprefix(PREFIX)
    classifiers.get(name, f"-d {downstream}")
    return name
