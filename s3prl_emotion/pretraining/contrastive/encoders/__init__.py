"""Encoders: a waveform in, one vector out. One file per encoder, configured by the name that it registers under.

An encoder sees one utterance at a time, and its vectors are kept in the store of hidden states.
"""

from __future__ import annotations

from s3prl_emotion.pretraining.contrastive.encoders._base import ModuleEncoder, SpeakerEncoder
from s3prl_emotion.registry import Registry

encoders: Registry[type[SpeakerEncoder]] = Registry("encoder", "s3prl_emotion.pretraining.contrastive.encoders")
"""Every encoder by name; options are keyword arguments of its constructor."""

__all__ = ["ModuleEncoder", "SpeakerEncoder", "encoders"]
