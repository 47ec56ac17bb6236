"""A benchmark run from request to result: the room that puts corpora, protocols, the bridge and evaluation together."""

from __future__ import annotations

from s3prl_emotion.experiment.request import Request

__all__ = ["Request"]
