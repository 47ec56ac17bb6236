"""Emotion recognition benchmarks for speech models, as a plugin of S3PRL.

Importing this package is light: neither torch nor s3prl is loaded until :func:`register` or :func:`load` is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3prl_emotion.inference.trained import EmotionRecogniser

_here = Path(__file__).parent
if not (_here / "downstream_configs").is_dir() and (_here.parent / "downstream_configs").is_dir():
    # Run from a checkout: downstream_configs and upstream_patches lie beside this package instead of in it.
    __path__.append(str(_here.parent))

__version__ = "0.1.0"

__all__ = ["__version__", "load", "register"]


def load(
    source: str | Path,
    fold: int | str | None = None,
    device: str | None = None,
    upstream: str | None = None,
    checkpoint: str | Path | None = None,
    model_config: str | Path | None = None,
    trust_checkpoint: bool = False,
    text_encoder: str | Path | None = None,
    asr: str | None = None,
) -> EmotionRecogniser:
    """A trained head for any audio: see :meth:`s3prl_emotion.inference.trained.EmotionRecogniser.load`.

    Example::

        from s3prl_emotion import load
        recogniser = load("result/downstream/fbank/emotion_attn_corr/demo-superb")
        print(recogniser.predict(["a.wav"])[0].probabilities)
    """
    from s3prl_emotion.errors import EmotionError
    from s3prl_emotion.inference.trained import EmotionRecogniser
    from s3prl_emotion.inference.wording import in_python

    try:
        return EmotionRecogniser.load(
            source, fold, device, upstream, checkpoint, model_config, trust_checkpoint, text_encoder, asr
        )
    except EmotionError as error:
        error.args = (in_python(str(error)), *error.args[1:])
        raise


def register() -> None:
    """Make S3PRL work on current libraries and add our downstreams and upstreams to it.

    Afterwards ``s3prl.hub`` holds our upstreams and ``s3prl.downstream.<name>.expert`` can be imported for every
    file in ``downstream_configs/``. No file of s3prl is edited; calling this again does nothing.
    """
    from s3prl_emotion.s3prl_runner.registration import register as register_with_s3prl

    register_with_s3prl()
