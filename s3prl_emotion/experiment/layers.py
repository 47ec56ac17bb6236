"""Where in an upstream emotion is: one classical run for each of its layers."""

from __future__ import annotations

import dataclasses

from s3prl_emotion.evaluation.layers import OfLayer, in_order
from s3prl_emotion.experiment.classical import Statistics, count_layers
from s3prl_emotion.experiment.division import Prepared
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.experiment.sweep import Grid, at_point, sweep
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.results import read_results


def layer_by_layer(request: Request, grid: Grid) -> list[OfLayer]:
    """Fit and score a grid of classical models on each layer of their upstreams; what is finished is not done again.

    Args:
        request: what all share
        grid: upstreams, classifiers and seeds

    Returns:
        by upstream, classifier and seed, then layer

    Raises:
        EmotionError: as :func:`~s3prl_emotion.experiment.sweep.sweep`
    """
    prepared: Prepared = {}
    found = []
    for upstream in grid.upstreams:
        statistics: Statistics = {}
        one = dataclasses.replace(grid, upstreams=(upstream,))
        for layer in range(count_layers(at_point(request, upstream, grid.downstreams[0], grid.seeds[0]))):
            choice = dataclasses.replace(request.classical, layers=str(layer))
            for folder in sweep(dataclasses.replace(request, classical=choice), one, prepared, statistics):
                found.append(OfLayer(layer, folder, read_results(RunFolder(folder).results)))
    return in_order(found)
