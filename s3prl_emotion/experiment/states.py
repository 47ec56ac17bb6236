"""The hidden states that a training reads: stored, or computed as they would be stored."""

from __future__ import annotations

from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.features.forms import Form
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.runs.plan import TrainingSpec
from s3prl_emotion.s3prl_runner.arguments import namespace
from s3prl_emotion.s3prl_runner.cache import CacheOptions, open_cache
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.s3prl_runner.unbatched import UnbatchedUpstream
from s3prl_emotion.text.choice import text_of
from s3prl_emotion.upstreams.per_fold import upstream_sha256


def stored_states(
    training: TrainingSpec, manifest: Manifest, options: CacheOptions, fold: int | None = None
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
    preparation = Preparation(downstream_kind(training.downstream).cut_s(training.settings.expert))
    cached = open_cache(args, manifest, options, checkpoints, _form(training), preparation)
    text = downstream_kind(training.downstream).model(training.settings.expert).text
    if text is not None and not text.trainable:
        from s3prl_emotion.text.encoder import stored_texts
        from s3prl_emotion.text.loading import open_encoder  # which loads transformers

        opened = open_encoder(text.encoder, text.max_tokens)
        said = [text_of(item) for item in manifest.utterances]
        cached.texts = stored_texts(opened, said, options.root, training.device, options.limit_bytes)
    return cached


def states_alone(training: TrainingSpec, dtype: str, fold: int) -> UnbatchedUpstream:
    """The same states of a fold computed when they are wanted; ``dtype`` is that of the store that the run had."""
    form = _form(training)
    return UnbatchedUpstream(namespace(training, fold), dtype if form == "frames" else "float32", form)


def _form(training: TrainingSpec) -> Form:
    """All frames, or one mean for each layer where that is all that the head needs."""
    is_mean = downstream_kind(training.downstream).sees_only_means(training.settings.expert)
    return "mean" if is_mean and not training.upstream.normalize and not training.settings.specaug else "frames"
