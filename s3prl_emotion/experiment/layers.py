"""Where in an upstream emotion is: one classical run for each of its layers."""

from __future__ import annotations

import dataclasses
from itertools import product

from s3prl_emotion.evaluation.layers import OfLayer, in_order
from s3prl_emotion.experiment.classical import count_layers
from s3prl_emotion.experiment.jobs import Job, run_jobs
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.experiment.sweep import Grid, at_point
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
    layers = {}
    for upstream in grid.upstreams:
        count = count_layers(at_point(request, upstream, grid.downstreams[0], grid.seeds[0]))
        for layer, downstream, seed in product(range(count), grid.downstreams, grid.seeds):
            choice = dataclasses.replace(request.classical, layers=str(layer))
            point = at_point(dataclasses.replace(request, classical=choice), upstream, downstream, seed)
            layers[Job(f"{upstream} {downstream} layer {layer}", point).key] = layer, point
    points = [Job(name, point) for (name, _), (_, point) in layers.items()]
    worked = run_jobs(points, strict=True)
    worked.raise_failures(len(points))
    return in_order(
        [
            OfLayer(layers[key][0], folder, read_results(RunFolder(folder).results))
            for key, folder in worked.finished.items()
        ]
    )
