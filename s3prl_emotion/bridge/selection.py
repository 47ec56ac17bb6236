"""Building an upstream and choosing its features, with what S3PRL would ignore or fall back from as errors."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from s3prl_emotion.errors import EmotionError, UpstreamError


@contextlib.contextmanager
def explained(upstream: str) -> Iterator[None]:
    """Turn whatever goes wrong while an upstream is built into one message.

    Raises:
        UpstreamError: naming the upstream and the cause
    """
    try:
        yield
    except EmotionError:
        raise
    except OSError as error:  # requests' and huggingface_hub's connection errors are OSErrors
        raise UpstreamError(
            f"-u {upstream}: its files cannot be had: {error}. Named upstreams are downloaded on first use; without a "
            "network, fetch the checkpoint elsewhere and use the _local variant with -k"
        ) from error
    except Exception as error:  # upstreams of many authors: anything can come
        raise UpstreamError(f"-u {upstream} cannot be built: {type(error).__name__}: {error}") from error


def check_selection(args: argparse.Namespace, layers: int) -> None:
    """Refuse ``-l`` and ``--upstream_feature_normalize`` where they would do nothing.

    Args:
        args: S3PRL's arguments
        layers: number of layers that the weighted sum gets

    Raises:
        UpstreamError: naming the option and why it has no effect
    """
    if layers > 1:
        return
    if args.upstream_feature_normalize:
        raise UpstreamError(
            "--upstream_feature_normalize acts on the weighted sum of several layers; here there is one layer only"
        )
    if args.upstream_layer_selection not in (None, 0, -1) and args.upstream_feature_selection != "hidden_states":
        raise UpstreamError(
            f"-l {args.upstream_layer_selection} has no effect: -s {args.upstream_feature_selection} is one layer"
        )
