"""The hidden states that a training reads: stored, or computed as they would be stored."""

from __future__ import annotations

from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.bridge.alone import AloneUpstream
from s3prl_emotion.bridge.cache import CacheOptions, open_cache
from s3prl_emotion.bridge.experts import expert_of
from s3prl_emotion.bridge.translation import namespace
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.features.forms import Form
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.runs.plan import Training
from s3prl_emotion.text.source import said_in
from s3prl_emotion.upstreams.per_fold import upstream_sha256


def stored_states(
    training: Training, manifest: Manifest, options: CacheOptions, fold: int | None = None
) -> CachedUpstream:
    """Store what is missing, in the form that the head needs: all frames, or one mean for each layer.

    Args:
        training: whose states
        manifest: the corpus
        options: where and how to store
        fold: which model to take of an upstream that has one per fold
    """
    args = namespace(training, fold)
    checkpoints = (upstream_sha256(args.upstream_ckpt), upstream_sha256(args.upstream_model_config))
    preparation = Preparation(expert_of(training.downstream).cut_s(training.settings.expert))
    cached = open_cache(args, manifest, options, checkpoints, _form(training), preparation)
    text = expert_of(training.downstream).model(training.settings.expert).text
    if text is not None and not text.trainable:
        from s3prl_emotion.text.loading import open_encoder  # which loads transformers
        from s3prl_emotion.text.states import stored_texts

        opened = open_encoder(text.encoder, text.max_tokens)
        said = [said_in(item) for item in manifest.utterances]
        cached.texts = stored_texts(opened, said, options.root, training.device, options.limit_bytes)
    return cached


def states_alone(training: Training, dtype: str, fold: int) -> AloneUpstream:
    """The same states of a fold computed when they are wanted; ``dtype`` is that of the store that the run had."""
    form = _form(training)
    return AloneUpstream(namespace(training, fold), dtype if form == "frames" else "float32", form)


def _form(training: Training) -> Form:
    """All frames, or one mean for each layer where that is all that the head needs."""
    is_mean = expert_of(training.downstream).sees_only_means(training.settings.expert)
    return "mean" if is_mean and not training.upstream.normalize and not training.settings.specaug else "frames"
