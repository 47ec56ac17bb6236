"""A synthetic corpus in IEMOCAP's folder layout, so that everything can be tried without a licence or a download.

Ten voices in five sessions speak neutral sentences in four manners. The emotion is in the prosody alone, the texts
are the same for all emotions, and the manners overlap: a classifier should land well above chance (25 %) and below
perfection. Numbers on it say whether a program works, and nothing about people.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._synthesis import SAMPLE_RATE_HZ, Prosody, Voice, synthesise
from s3prl_emotion.corpora.iemocap import LABELS, read_sessions
from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.corpora.superb_metadata import ATTRIBUTES
from s3prl_emotion.errors import CorpusError
from s3prl_emotion.files import clean_up, named, temporary_beside

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the corpus' content; a folder with another one is made again."""
MARKER = "demo.json"
SESSIONS = 5
TEXTS = (
    "The lamp is next to the door.",
    "We meet at seven near the station.",
    "My sister moved to another town.",
    "Open the window before you leave.",
    "The paper is in the upper drawer.",
    "He took the bus home, as usual.",
    "I will call them after lunch.",
    "The garden has a wooden gate.",
    "They painted the kitchen yellow.",
    "The train stops here, then turns north.",
    "Put the keys on the shelf.",
    "Her brother works in a bakery.",
)
# mean and standard deviation over utterances of: pitch level, pitch range (semitones), energy (dB), rate, tilt (dB/oct)
_MANNERS = {
    "neu": ((0.0, 1.2), (1.0, 0.3), (0.0, 1.6), (1.00, 0.06), (0.0, 0.6)),
    "hap": ((4.6, 1.4), (5.2, 0.9), (1.8, 1.8), (1.22, 0.08), (0.8, 0.7)),
    "ang": ((2.0, 1.4), (2.0, 0.6), (7.0, 1.8), (1.08, 0.08), (3.4, 0.7)),
    "sad": ((-1.6, 1.2), (0.8, 0.3), (-6.0, 1.9), (0.82, 0.07), (-2.0, 0.8)),
}


@dataclass(frozen=True)
class _Clip:
    name: str
    dialog: str
    session: int
    voice: Voice
    emotion: str  # as annotated; "exc" is read as "hap"
    prosody: Prosody
    text: str
    seed: tuple[int, ...]


def make_demo_corpus(folder: str | Path, utterances_per_speaker_and_emotion: int = 6, seed: int = 0) -> Path:
    """Make the demo corpus, or keep the complete one that is there.

    The corpus is written beside ``folder`` and renamed, so that nobody meets half of one; two processes may do it at
    the same time. The same arguments give the same bytes.

    Args:
        folder: where the corpus goes; either absent, empty or a demo corpus
        utterances_per_speaker_and_emotion: with 6, the corpus has 240 utterances
        seed: of voices, manners and noise

    Returns:
        the folder

    Raises:
        CorpusError: if the folder holds something else
        ValueError: if fewer than one utterance is asked for
    """
    if utterances_per_speaker_and_emotion < 1:
        raise ValueError(f"expected at least 1 utterance, found {utterances_per_speaker_and_emotion}")
    folder = Path(folder).expanduser().absolute()
    count = utterances_per_speaker_and_emotion
    marker = {"demo_corpus": VERSION, "seed": seed, "utterances_per_speaker_and_emotion": count}
    clean_up(folder.parent, f".{escape(folder.name[:100])}.*")  # what processes that were killed were making
    if _is_complete(folder, marker):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(folder)
    try:
        with named(folder):
            temporary.mkdir()
        _write(temporary, list(_clips(count, seed)))
        with named(folder):
            (temporary / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")
        if folder.is_dir() and any(folder.iterdir()) and not _is_complete(folder, marker):
            old = temporary_beside(folder, "old")
            folder.rename(old)
            shutil.rmtree(old)
        try:
            temporary.rename(folder)
        except OSError:
            if not _is_complete(folder, marker):  # another process was faster, and made something else
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    logger.info("%s: demo corpus of %d utterances made", folder, 4 * 2 * SESSIONS * count)
    return folder


def _is_complete(folder: Path, marker: dict[str, int]) -> bool:
    """Whether the folder is the demo corpus asked for; a folder that is no demo corpus at all is refused."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "demo_corpus" not in found:
        raise CorpusError(f"{folder}: exists and is not a demo corpus (no {MARKER}). Name another folder")
    return found == marker


def _voices(generator: np.random.Generator) -> dict[tuple[int, str], Voice]:
    voices = {}
    for session in range(1, SESSIONS + 1):
        for sex, f0_hz, scale in (("F", 205.0, 1.14), ("M", 112.0, 1.0)):
            voices[session, sex] = Voice(
                f0_hz=f0_hz * 2 ** (generator.normal(0, 2.0) / 12),
                tract_scale=scale * generator.normal(1, 0.035),
                gain_db=generator.normal(0, 1.5),
                tilt_db_per_octave=generator.normal(-1.0, 0.5),
                rate=generator.normal(1.0, 0.06),
            )
    return voices


def _clips(count: int, seed: int) -> Iterator[_Clip]:
    """All clips, in the order of sessions, dialogs and turns."""
    generator = np.random.default_rng([seed, VERSION])
    voices = _voices(generator)
    habits = {key: generator.normal(1, 0.12, 4) for key in voices}  # how strongly each speaker shows each emotion
    for session in range(1, SESSIONS + 1):
        for repetition in range(count):
            dialog = f"Ses{session:02d}{'FM'[repetition % 2]}_impro{repetition + 1:02d}"
            turns = [(sex, label) for sex in "FM" for label in LABELS]
            numbers = {"F": 0, "M": 0}
            for turn in generator.permutation(len(turns)):
                sex, label = turns[turn]
                speaker = (session, sex)
                text = TEXTS[(repetition + 5 * (2 * session + "FM".index(sex))) % len(TEXTS)]
                yield _Clip(
                    name=f"{dialog}_{sex}{numbers[sex]:03d}",
                    dialog=dialog,
                    session=session,
                    voice=voices[speaker],
                    emotion="exc" if label == "hap" and repetition % 2 else label,
                    prosody=_prosody(label, habits[speaker][LABELS.index(label)], generator),
                    text=text,
                    seed=(seed, session, repetition, int(turn)),
                )
                numbers[sex] += 1


def _prosody(label: str, strength: float, generator: np.random.Generator) -> Prosody:
    drawn = []
    for (mean, deviation), (neutral, _) in zip(_MANNERS[label], _MANNERS["neu"], strict=True):
        drawn.append(neutral + strength * (mean - neutral) + deviation * float(generator.standard_normal()))
    level, movement, energy, rate, tilt = drawn
    return Prosody(level, max(0.3, movement), energy, float(np.clip(rate, 0.65, 1.5)), tilt)


def _write(root: Path, clips: list[_Clip]) -> None:
    import soundfile

    for clip in clips:
        (root / f"Session{clip.session}" / "sentences" / "wav" / clip.dialog).mkdir(parents=True, exist_ok=True)

    def speak(clip: _Clip) -> float:
        samples = synthesise(clip.text, clip.voice, clip.prosody, np.random.default_rng(clip.seed))
        path = root / f"Session{clip.session}" / "sentences" / "wav" / clip.dialog / f"{clip.name}.wav"
        encoded = io.BytesIO()  # a file that libsndfile cannot write gives neither its name nor the reason
        soundfile.write(encoded, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
        with named(path):
            path.write_bytes(encoded.getvalue())
        return len(samples) / SAMPLE_RATE_HZ

    with ThreadPoolExecutor(max_workers=2) as pool:
        durations = list(pool.map(speak, clips))
    dialogs: dict[tuple[int, str], list[tuple[_Clip, float]]] = {}
    for clip, duration_s in zip(clips, durations, strict=True):
        dialogs.setdefault((clip.session, clip.dialog), []).append((clip, duration_s))
    for (session, dialog), turns in dialogs.items():
        _write_dialog(root / f"Session{session}" / "dialog", dialog, turns)


def _write_dialog(folder: Path, dialog: str, turns: list[tuple[_Clip, float]]) -> None:
    """Write a dialog's labels, with the lines of single annotators that a reader has to pass over, and its texts."""
    names = {"neu": "Neutral", "hap": "Happiness", "exc": "Excited", "ang": "Anger", "sad": "Sadness"}
    labels = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    texts = []
    start_s = 2.0
    for clip, duration_s in turns:
        end_s = start_s + duration_s
        labels.append(f"[{start_s:.4f} - {end_s:.4f}]\t{clip.name}\t{clip.emotion}\t[2.5000, 2.5000, 2.5000]")
        labels += [f"C-E{k}:\t{names[clip.emotion]};\t()" for k in (2, 3, 4)]
        labels += [f"A-E{k}:\tval 3; act 2; dom  2;\t()" for k in (3, 4)]
        labels.append("")
        texts.append(f"{clip.name} [{start_s:08.4f}-{end_s:08.4f}]: {clip.text}")
        start_s = end_s + 0.5
    for kind, lines in (("EmoEvaluation", labels), ("transcriptions", texts)):
        path = folder / kind / f"{dialog}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with named(path):
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_demo(root: Path) -> Manifest:
    """Read a demo corpus with the reader of IEMOCAP.

    Raises:
        CorpusError: if the folder is not in IEMOCAP's layout
    """
    return read_sessions(root, "demo")


corpora.register("demo")(
    Corpus(
        name="demo",
        reader=read_demo,
        labels=LABELS,
        licence="that of this package",
        citation="none: synthetic sound, for trying programs",
        source="make_demo_corpus",
        layout="a folder that make_demo_corpus made",
        speakers=2 * SESSIONS,
        folds=SESSIONS,
        attributes=ATTRIBUTES,
        default_protocol="superb",
    )
)
