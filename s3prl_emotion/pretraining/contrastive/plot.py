"""One picture of all speakers' clusters: a panel for each, two dimensions, colour for emotion, marker for cluster."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.files import write_atomically
from s3prl_emotion.printable import one_line

INSTALL = "pip install 's3prl-emotion[pictures]'"
MOST = 24
"""Panels; with more speakers, those with most emotions and utterances are drawn."""
COLUMNS = 5
_MARKERS = "osD^vP*X"
_UNKNOWN = "#999999"
_LONGEST = 60
_NONE = "."


@dataclass(frozen=True)
class Panel:
    """One speaker."""

    title: str
    vectors: np.ndarray  # (utterances, width), of length 1
    emotions: Sequence[str | None]
    clusters: Sequence[int]  # -1: in none


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Write an SVG; the same panels give the same bytes.

    Each panel shows the first two principal components of its own vectors (scikit-learn's PCA).

    Raises:
        ConfigError: if matplotlib is not installed
    """
    try:
        from matplotlib import colormaps, rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f"no picture of clusters without matplotlib ({error}): {INSTALL}") from error
    chosen = chosen_of(panels)
    emotions = sorted({emotion for panel in chosen for emotion in panel.emotions if emotion is not None})
    colours: dict[str | None, Any] = {name: colormaps["tab10"](number % 10) for number, name in enumerate(emotions)}
    colours[None] = _UNKNOWN
    columns = min(COLUMNS, max(1, len(chosen)))
    rows = math.ceil(len(chosen) / columns)
    with rc_context({"svg.hashsalt": "clusters", "svg.fonttype": "none"}):
        figure = Figure(figsize=(2.6 * columns, 2.6 * rows + 0.8), layout="constrained")
        for number, panel in enumerate(chosen):
            axes = figure.add_subplot(rows, columns, number + 1)
            axes.set_title(_plain(panel.title), fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
            for place, emotion, cluster in zip(projected(panel.vectors), panel.emotions, panel.clusters, strict=True):
                axes.plot(*place, _marker(cluster), color=colours[emotion], markersize=5, alpha=0.8)
        known = [*emotions, None] if any(None in panel.emotions for panel in chosen) else emotions
        used = sorted({cluster for panel in chosen for cluster in panel.clusters})
        handles = [_handle("o", colours[name], _plain(name or "unlabelled")) for name in known]
        handles += [_handle(_marker(number), "black", _name(number)) for number in used]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=min(8, len(handles)), fontsize=8)
        if len(chosen) < len(panels):
            figure.suptitle(f"{len(chosen)} of {len(panels)} speakers", fontsize=9)
        content = io.StringIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(content, metadata={"Date": None, "Creator": None})
    write_atomically(path, content.getvalue())


def chosen_of(panels: Sequence[Panel]) -> list[Panel]:
    """The panels that are drawn, in their order."""
    if len(panels) <= MOST:
        return list(panels)
    ranks = sorted(
        range(len(panels)),
        key=lambda index: (-len({*panels[index].emotions} - {None}), -len(panels[index].clusters), index),
    )
    return [panels[index] for index in sorted(ranks[:MOST])]


def projected(vectors: np.ndarray) -> np.ndarray:
    """``(utterances, width)`` to ``(utterances, 2)``; where there are fewer than two components, zeros."""
    from sklearn.decomposition import PCA

    found = np.zeros((len(vectors), 2))
    components = min(2, len(vectors) - 1, vectors.shape[1])
    if components > 0 and not np.allclose(vectors, vectors[0]):
        found[:, :components] = PCA(components, random_state=0).fit_transform(vectors)
    return found


def _marker(cluster: int) -> str:
    return _NONE if cluster < 0 else _MARKERS[cluster % len(_MARKERS)]


def _name(cluster: int) -> str:
    return "in no cluster" if cluster < 0 else f"cluster {cluster}"


def _plain(name: str) -> str:
    """A name that somebody else chose; matplotlib would set what stands between dollars as a formula."""
    return one_line(name)[:_LONGEST].replace("$", r"\$")


def _handle(marker: str, colour: Any, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker, color=colour, linestyle="", markersize=5, label=label)
