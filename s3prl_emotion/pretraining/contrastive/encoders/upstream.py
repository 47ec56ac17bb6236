"""The time mean of a layer of any upstream."""

from __future__ import annotations

import hashlib

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.features.store import Store
from s3prl_emotion.pretraining.contrastive.encoders import encoders
from s3prl_emotion.pretraining.contrastive.encoders._base import SpeakerEncoder
from s3prl_emotion.s3prl_runner.arguments import arguments
from s3prl_emotion.s3prl_runner.building import register_on_hub
from s3prl_emotion.s3prl_runner.cache import CacheOptions, open_cache
from s3prl_emotion.upstreams.per_fold import upstream_sha256
from s3prl_emotion.upstreams.resolution import resolve


@encoders.register("upstream")
class UpstreamMean(SpeakerEncoder):
    r"""The mean over time of one layer: :math:`e = \frac{1}{T} \sum_t h_{\ell, t}`.

    Args:
        upstream: as ``-u`` has it
        checkpoint: as ``-k`` has it
        model_config: as ``-g`` has it
        layer: as ``-l`` has it: 0 is the input of the first block, -1 the last layer
    """

    def __init__(
        self, upstream: str, checkpoint: str | None = None, model_config: str | None = None, layer: int = -1
    ) -> None:
        self.upstream, self.checkpoint, self.model_config, self.layer = upstream, checkpoint, model_config, layer

    @property
    def sha256(self) -> str | None:
        _, checkpoint, model_config = resolve(self.upstream, self.checkpoint, self.model_config).options
        found = upstream_sha256(checkpoint)
        if model_config is None:
            return found
        return hashlib.sha256(f"{found} {upstream_sha256(model_config)}".encode()).hexdigest()

    def stored(self, speech: Manifest, options: CacheOptions, device: str) -> tuple[Store, list[str]]:
        name, checkpoint, model_config = register_on_hub(
            resolve(self.upstream, self.checkpoint, self.model_config)
        ).options
        args = arguments(
            upstream=name,
            upstream_ckpt=checkpoint,
            upstream_model_config=model_config,
            upstream_layer_selection=self.layer,
            device=device,
        )
        hashes = upstream_sha256(checkpoint), upstream_sha256(model_config)
        cached = open_cache(args, speech, options, hashes, form="mean")
        return cached.store, cached.keys
