"""Corpora: one file per corpus, each a pure reader from a folder to a :class:`Manifest`, plus facts about the corpus.

``corpora.get("iemocap").read(folder)`` gives the manifest. Importing this package is light: no torch, no audio.
"""

from __future__ import annotations

from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.registry import Registry

corpora: Registry[Corpus] = Registry("corpus", "s3prl_emotion.corpora")
"""Every corpus by name."""

__all__ = ["Corpus", "Manifest", "Utterance", "corpora"]
