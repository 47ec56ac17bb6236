"""Small fabricated copies of the five corpora of arXiv 2312.11503, each in its own layout, with audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from corpora import copies

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora.combined import FIVE_PARTS

PITCH_HZ = {"angry": 330, "happy": 280, "fearful": 240, "surprised": 300, "disgust": 150, "sad": 110, "calm": 90}


def make_five(folder: Path, seconds: float = 0.4) -> Path:
    """``folder/<corpus>`` for each of the five: a tone whose pitch follows the emotion, in noise."""
    from s3prl_emotion.corpora.labels import canonical

    generator = np.random.default_rng(0)
    for part in FIVE_PARTS:
        place, options = getattr(copies, part)(folder / part)
        manifest = corpora.get(part).read(place, **options)
        for item in manifest.utterances:
            path = manifest.path_of(item)
            path.parent.mkdir(parents=True, exist_ok=True)
            time_s = np.arange(int(16000 * seconds)) / 16000
            pitch = PITCH_HZ.get(canonical(item.label), 200) * generator.uniform(0.95, 1.05)
            wave = 0.3 * np.sin(2 * np.pi * pitch * time_s) + 0.05 * generator.standard_normal(len(time_s))
            soundfile.write(path, wave.astype(np.float32), 16000)
    return folder
