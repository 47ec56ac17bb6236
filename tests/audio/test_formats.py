"""Every encoding that libsndfile writes, headers that were left open, and files that are something else."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_emotion.audio import AudioError, audio_info, read_audio, read_segment

RATE = 16_000
COUNT = 48_000
TOLERANCE = {  # of samples in [-0.5, 0.5]; the others lose no more than 16 bits do
    "PCM_U8": 0.01,
    "PCM_S8": 0.01,
    "DPCM_8": 0.5,
    "ULAW": 0.02,
    "ALAW": 0.02,
    "IMA_ADPCM": 0.3,
    "MS_ADPCM": 0.3,
    "GSM610": 0.5,
    "G721_32": 0.5,
    "G723_24": 0.6,
    "G723_40": 0.5,
    "NMS_ADPCM_16": 0.9,
    "NMS_ADPCM_24": 0.9,
    "NMS_ADPCM_32": 0.9,
    "VORBIS": 0.3,
    "OPUS": 0.5,
    "MPEG_LAYER_III": 0.3,
    "VOX_ADPCM": 0.5,
}


def voice() -> np.ndarray:
    seconds = np.arange(COUNT) / RATE
    noise = 0.02 * np.random.default_rng(0).standard_normal(COUNT)
    return (0.3 * np.sin(2 * np.pi * 300 * seconds * (1 + 0.1 * seconds)) + noise).astype(np.float32)


def kinds() -> list[tuple[str, str]]:
    found = []
    for kind in soundfile.available_formats():
        found += [(kind, subtype) for subtype in soundfile.available_subtypes(kind) if kind != "RAW"]
    return found


@pytest.mark.parametrize(("kind", "subtype"), kinds(), ids=lambda value: value)
def test_every_encoding_is_read_right_or_refused(kind: str, subtype: str, tmp_path: Path) -> None:
    """Whole, and in segments: equal samples, whether the format has jumps or none."""
    path = tmp_path / "a.wav"
    try:
        soundfile.write(path, voice(), RATE, format=kind, subtype=subtype)
    except soundfile.LibsndfileError:
        pytest.skip("libsndfile does not write it")
    if subtype.startswith("DWVW"):
        with pytest.raises(AudioError, match=r"a\.wav: not readable as audio"):
            read_segment(path)
        return
    whole, rate = read_segment(path)
    assert rate == RATE or kind in ("VOC", "WVE", "XI"), "these have rates of their own"
    assert COUNT <= len(whole) < COUNT + 1000, "some are padded to whole blocks"
    assert len(whole) == audio_info(path).frames
    error_of = np.abs(whole[:COUNT, 0] - voice())
    assert np.median(error_of) < TOLERANCE.get(subtype, 1e-4)
    for start, end in ((0.0, 0.5), (7001 / rate, 1.0), (1.0, None), (0.0, None)):
        first, last = round(start * rate), None if end is None else round(end * rate)
        np.testing.assert_array_equal(read_segment(path, start, end)[0], whole[first:last])


FIELDS = {
    "RIFF": (b"data", 4, "<I"),
    "FORM": (b"SSND", 4, ">I"),
    "riff": (b"data", 16, "<Q"),
    "RF64": (b"ds64", 16, "<Q"),
}
OPEN = [
    *(
        ("WAV", subtype, size)
        for subtype in ("PCM_16", "FLOAT", "ULAW", "GSM610")
        for size in (0, 2**32 - 1, 2**31 - 1)
    ),
    *(("WAVEX", "PCM_24", size) for size in (0, 2**32 - 1)),
    *(("RF64", "PCM_16", size) for size in (0, 2**64 - 1)),
    *(("W64", "PCM_16", size) for size in (0, 24, 2**64 - 1)),
    *(("AIFF", "PCM_16", size) for size in (0, 8, 2**32 - 1)),
    *(("AU", "PCM_16", size) for size in (0, 2**32 - 1)),
]


@pytest.mark.parametrize(("kind", "subtype", "size"), OPEN)
@pytest.mark.parametrize("total", ["as it is", 0, 2**32 - 1])
def test_a_recorder_that_was_killed_left_the_length_open(kind, subtype, size, total, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(), RATE, format=kind, subtype=subtype)
    whole = read_audio(path)
    content = bytearray(path.read_bytes())
    if kind == "AU":
        content[8:12] = struct.pack(">I", size)
    else:
        name, offset, form = FIELDS[content[:4].decode()]
        at = content.index(name) + offset
        content[at : at + struct.calcsize(form)] = struct.pack(form, size)
    if isinstance(total, int) and content[:4] in (b"RIFF", b"FORM"):
        content[4:8] = struct.pack("<I" if content[:4] == b"RIFF" else ">I", total)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_audio(path), whole)
    np.testing.assert_array_equal(read_audio(path, 1.0, 2.0), whole[RATE : 2 * RATE])
    assert audio_info(path).frames == len(whole)


def test_an_empty_chunk_before_others_is_empty(tmp_path: Path) -> None:
    """What follows are chunks up to the end of the file, and no audio."""
    path = tmp_path / "a.wav"
    soundfile.write(path, voice()[:0], RATE)
    path.write_bytes(path.read_bytes() + b"LIST\4\0\0\0INFO" + b"id3 \2\0\0\0\0\0")
    with pytest.raises(AudioError, match="holds no samples"):
        read_audio(path)


def test_a_stream_of_flac_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, voice(), RATE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    for read in (read_audio, audio_info):
        with pytest.raises(AudioError, match=r"a\.flac: its header does not say how long it is"):
            read(path)


def wav_of(tag: int) -> bytes:
    form = struct.pack("<HHIIHH", tag, 1, RATE, 4000, 1, 0)
    return b"RIFF" + struct.pack("<I", 44) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data\x08\0\0\0" + bytes(8)


def zipped(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("a.wav", b"x" * 99)
    return (folder / "a.zip").read_bytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"\0\0\0\x1cftypM4A \0\0\0\0M4A mp42isom" + bytes(999),
            "it holds an m4a file (AAC or ALAC). Convert it, say with",
        ),
        (b"\0\0\0\x18ftypmp42" + bytes(999), "it holds MPEG-4 (mp4, m4a, mov)"),
        (b"\n<!DOCTYPE html><html>404</html>", "it holds a web page (HTML), such as an error or a log-in page"),
        (b"<HTML><body>Sign in</body></HTML>" * 9, "it holds a web page (HTML)"),
        (b"<?xml version='1.0'?><Error>NoSuchKey</Error>", "it holds XML"),
        (b'{"message": "Not Found", "status": "404"}', "it holds JSON"),
        (b"once upon a time " * 99, "it holds text. Fetch the audio again"),
        (gzip.compress(b"x" * 999, mtime=0), "it holds a gzip archive. Unpack it"),
        (b"Rar!\x1a\x07\1\0" + bytes(99), "it holds a RAR archive"),
        (b"OggS\0\2" + bytes(22) + b"\1\x1eSpeex   1.2" + bytes(99), "it holds Ogg without Vorbis, Opus or FLAC in it"),
        (b"ID3\x04\0\0\0\0\0\0" + bytes(99), "it holds MP3, or another format behind an ID3 tag"),
        (b"\xff\xf1\x50\x80" + bytes(99), "it holds AAC (ADTS). Convert it"),
        (b"0&\xb2u\x8ef\xcf\x11" + bytes(99), "it holds Windows Media (WMA)"),
        (b"#!AMR\n" + bytes(99), "it holds AMR. Convert it"),
        (b"\x1aE\xdf\xa3" + bytes(99), "it holds Matroska or WebM"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(99), "it holds AVI video"),
        (wav_of(0x0161), "it holds WAV with a Windows Media codec inside (tag 0x0161)"),
        (wav_of(0x7777), "it holds WAV with an unknown codec inside (tag 0x7777)"),
        (
            b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\n".ljust(1024) + b"ajkg",
            "compressed by shorten",
        ),
        (bytes(4096), "it holds zeros only, as an interrupted copy leaves them"),
        (b"\x93NUMPY\1\0" + bytes(99), "it holds an array of NumPy"),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) else None,
)
@pytest.mark.parametrize("ending", ["wav", "flac", "raw"])
def test_what_is_no_audio_is_named(content: bytes, says: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    for read in (read_audio, audio_info):
        with pytest.raises(AudioError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: not readable as audio: it holds ")
        assert says in str(caught.value)


def test_a_zip_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(zipped(tmp_path))
    with pytest.raises(AudioError, match=r"a\.wav: not readable as audio: it holds a zip archive\. Unpack it"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("ending", ["raw", "RAW"])
def test_samples_without_a_header(tmp_path: Path, ending: str) -> None:
    """soundfile raises a TypeError for the ending; a file that has a header is read whatever it is called."""
    path = tmp_path / f"a.{ending}"
    path.write_bytes((voice() * 32767).astype("<i2").tobytes())
    for read in (read_audio, audio_info):
        with pytest.raises(
            AudioError, match=r"a\.\w+: not readable as audio: samples without a header, .* Convert them"
        ):
            read(path)
    soundfile.write(tmp_path / "b.wav", voice(), RATE)
    os.replace(tmp_path / "b.wav", path)
    assert read_audio(path).shape == (COUNT,)
    assert audio_info(path).frames == COUNT


@pytest.mark.parametrize("kind", ["MP3", "OGG", "FLAC", "CAF", "AIFF"])
def test_audio_of_another_kind_than_its_name_is_read(kind: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(), RATE, format=kind)
    assert abs(len(read_audio(tmp_path / "a.wav")) - COUNT) < 10


@pytest.mark.parametrize("raised", [TypeError, ValueError, RuntimeError, OSError])
def test_whatever_the_library_raises_names_the_file(raised: type[Exception], tmp_path: Path, monkeypatch) -> None:
    soundfile.write(tmp_path / "a.wav", voice(), RATE)

    def fail(*_: object, **__: object) -> None:
        raise raised("no")

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(AudioError, match=r"a\.wav: not readable as audio \(no\)"):
        read_audio(tmp_path / "a.wav")


def test_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    """A Latin-1 name on a disk whose names are UTF-8."""
    soundfile.write(tmp_path / "a.wav", voice(), RATE)
    os.rename(tmp_path / "a.wav", os.fsencode(tmp_path) + b"/caf\xe9.wav")
    assert read_audio(tmp_path / os.fsdecode(b"caf\xe9.wav")).shape == (COUNT,)
