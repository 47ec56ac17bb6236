"""Audio files that are not what their names, headers or samples say."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from faults.campaign import Fault, hold, table

pytestmark = pytest.mark.slow

Make = Callable[[Path], object]
RATE = 16_000
ROWS = ("b.wav,glad,s1", "c.wav,sad,s2", "d.wav,glad,s2", "e.wav,sad,s3", "f.wav,glad,s3", "g.wav,sad,s1")


def noise(count: int = 1600, channels: int = 1, scale: float = 0.1, seed: int = 0) -> np.ndarray:
    samples = scale * np.random.default_rng(seed).uniform(-1, 1, (count, channels))
    return samples[:, 0] if channels == 1 else samples


def sound(samples: np.ndarray, rate: int = RATE, **how: str) -> Make:
    return lambda path: soundfile.write(path, samples, rate, **how)


def data(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def riff(
    samples: bytes = b"\1\0" * 1600,
    *,
    kind: int = 1,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    size: int | None = None,
    total: int | None = None,
    fmt: bool = True,
) -> bytes:
    """A WAV file, byte by byte."""
    frame = max(1, channels * bits // 8)
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * frame % 2**32, frame % 2**16, bits)
    body = (b"fmt " + struct.pack("<I", 16) + head) if fmt else b""
    body += b"data" + struct.pack("<I", len(samples) if size is None else size) + samples
    return b"RIFF" + struct.pack("<I", len(body) + 4 if total is None else total) + b"WAVE" + body


def cut(make: Make, share: float) -> Make:
    """The first part of what ``make`` writes."""

    def shortened(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return shortened


def patched(make: Make, at: int, content: bytes) -> Make:
    def changed(path: Path) -> None:
        make(path)
        whole = bytearray(path.read_bytes())
        whole[at : at + len(content)] = content
        path.write_bytes(whole)

    return changed


def hopeful_flac(path: Path) -> None:
    """A FLAC file whose header promises 2^36 - 1 samples: 256 GB of them."""
    soundfile.write(path, noise(), RATE, format="FLAC")
    whole = bytearray(path.read_bytes())
    whole[21] |= 0x0F  # the lowest four bits of byte 21 and the next four bytes count the samples
    whole[22:26] = b"\xff" * 4
    path.write_bytes(whole)


def with_value(value: float, subtype: str = "FLOAT") -> Make:
    samples = noise()
    samples[7] = value
    return sound(samples, subtype=subtype, format="WAV")


def locked(path: Path) -> None:
    path.write_bytes(riff())
    path.chmod(0)


def loop(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def file(
    name: str,
    says: Sequence[str],
    make: Make,
    ending: str = "wav",
    status: int = 2,
    *more: str,
    command: str = "prepare",
) -> Fault:
    """The file ``a`` is made by ``make``, six others beside it are as they should be."""

    def build(here: Path) -> None:
        make(here / f"a.{ending}")
        for seed, letter in enumerate("bcdefg", start=1):
            sound(noise(seed=seed))(here / f"{letter}.wav")
        (here / "t.csv").write_text("\n".join(("path,label,speaker", f"a.{ending},sad,s1", *ROWS)))

    given = ("--corpus", "table", "--data", "{here}/t.csv", *more)
    argv = ("prepare", *given, "--out", "{here}/p")
    if command == "run":
        argv = ("run", "-u", "fbank", "-d", "emotion_mean", "--device", "cpu", *given, "-p", "{here}/run")
    return Fault(name, argv, tuple(says), build, status)


FAULTY: tuple[tuple[str, tuple[str, ...], Make, str], ...] = (
    ("nothing there", ("a.wav: no such audio file",), lambda path: None, "wav"),
    ("no bytes", ("a.wav: the file is empty (0 bytes)",), data(b""), "wav"),
    ("one byte", ("a.wav: not readable as audio",), data(b"R"), "wav"),
    ("only RIFF", ("a.wav: not readable as audio",), data(b"RIFF"), "wav"),
    ("half a header", ("a.wav: not readable as audio",), data(riff()[:20]), "wav"),
    ("a header without samples", ("a.wav: the audio file holds no samples",), data(riff(b"")), "wav"),
    ("no fmt chunk", ("a.wav: not readable as audio",), data(riff(fmt=False)), "wav"),
    ("no data chunk", ("a.wav: ",), data(riff()[:36]), "wav"),
    ("text", ("a.wav: not readable as audio",), data(b"once upon a time " * 99), "wav"),
    (
        "a web page",
        ("a.wav: not readable as audio: it holds a web page (HTML)",),
        data(b"<!DOCTYPE html><html>404</html>"),
        "wav",
    ),
    (
        "an archive",
        ("a.wav: not readable as audio: it holds a zip archive. Unpack it",),
        data(b"PK\x03\x04" + bytes(999)),
        "wav",
    ),
    ("zeros", ("a.wav: not readable as audio",), data(bytes(4096)), "wav"),
    (
        "a git-lfs pointer",
        ("a.wav: a git-lfs pointer, not audio. Run `git lfs pull`",),
        data(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "wav",
    ),
    ("half of a WAV file", ("a.wav: cut off: its header promises 3200 bytes",), cut(data(riff()), 0.5), "wav"),
    (
        "a header that promises 2^31 bytes less 64 KB",
        ("a.wav: cut off: its header promises 2147418111 bytes",),
        data(riff(size=0x7FFEFFFF)),
        "wav",
    ),
    ("a size that is odd in 16 bits", ("a.wav: cut off",), data(riff(size=9999)), "wav"),
    (
        "a first chunk that is longer than the file",
        ("a.wav: ",),
        data(riff()[:12] + b"junk" + struct.pack("<I", 2**32 - 1) + riff()[12:]),
        "wav",
    ),
    ("no channels", ("a.wav: not readable as audio",), data(riff(channels=0)), "wav"),
    ("65535 channels", ("a.wav: ",), data(riff(channels=65535)), "wav"),
    ("rate 0", ("a.wav: ",), data(riff(rate=0)), "wav"),
    ("rate 1", ("a.wav: its header says 1 Hz, expected 1000 to 768000 Hz",), data(riff(rate=1)), "wav"),
    ("rate 999", ("a.wav: its header says 999 Hz",), data(riff(rate=999)), "wav"),
    ("rate 2^31 - 1", ("a.wav: its header says 2147483647 Hz",), data(riff(rate=2**31 - 1)), "wav"),
    ("a rate of 4 GHz", ("a.wav: ",), data(riff(rate=2**32 - 1)), "wav"),
    ("0 bits", ("a.wav: ",), data(riff(bits=0)), "wav"),
    ("7 kinds of bits", ("a.wav: not readable as audio",), data(riff(bits=255)), "wav"),
    ("an unknown encoding", ("a.wav: not readable as audio",), data(riff(kind=0x7777)), "wav"),
    ("MP3 in a WAV header without MP3", ("a.wav: ",), data(riff(kind=0x55)), "wav"),
    ("one sample", ("a.wav: 1 samples at 16 kHz; at least 400",), sound(noise(1)), "wav"),
    ("399 samples", ("a.wav: 399 samples at 16 kHz; at least 400",), sound(noise(399)), "wav"),
    ("24 ms at 48 kHz", ("a.wav: 384 samples at 16 kHz",), sound(noise(1152), 48_000), "wav"),
    ("NaN", ("a.wav: 1 samples are not finite numbers",), with_value(np.nan), "wav"),
    ("inf", ("a.wav: 1 samples are not finite numbers",), with_value(np.inf), "wav"),
    ("-inf in 64 bits", ("a.wav: 1 samples are not finite numbers",), with_value(-np.inf, "DOUBLE"), "wav"),
    ("1e300 in 64 bits", ("a.wav: 1 samples are not finite numbers",), with_value(1e300, "DOUBLE"), "wav"),
    ("1e30", ("a.wav: samples up to 1e+30, where full scale is 1",), with_value(1e30), "wav"),
    ("-1e30", ("a.wav: samples up to 1e+30, where full scale is 1",), with_value(-1e30), "wav"),
    ("all NaN", ("a.wav: 1600 samples are not finite numbers",), sound(np.full(1600, np.nan), subtype="FLOAT"), "wav"),
    ("a folder", ("a.wav: is a folder, not an audio file",), Path.mkdir, "wav"),
    (
        "a link to itself",
        ("a.wav: no such audio file: a link that leads nowhere",),
        lambda path: path.symlink_to(path),
        "wav",
    ),
    ("links in a circle", ("a.wav: no such audio file: a link that leads nowhere",), loop, "wav"),
    (
        "a broken link",
        ("a.wav: no such audio file: a link that leads nowhere",),
        lambda path: path.symlink_to("gone"),
        "wav",
    ),
    ("a link to /dev/null", ("a.wav: is a pipe or a device",), lambda path: path.symlink_to("/dev/null"), "wav"),
    ("a link to /dev/zero", ("a.wav: is a pipe or a device",), lambda path: path.symlink_to("/dev/zero"), "wav"),
    ("a pipe that nobody writes to", ("a.wav: is a pipe or a device",), os.mkfifo, "wav"),
    (
        "a link to a pipe",
        ("a.wav: is a pipe or a device",),
        lambda path: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe")),
        "wav",
    ),
    *(
        (f"half of {kind}", ("a.wav: cut off: its header promises",), cut(sound(noise(9000), format=kind), 0.5), "wav")
        for kind in ("RF64", "W64", "AIFF", "AU", "NIST")
    ),
    ("a FLAC header that promises 2^36 samples", ("a.flac: ",), hopeful_flac, "flac"),
    ("half of a FLAC file", ("a.flac: ",), cut(sound(noise(16_000), format="FLAC"), 0.5), "flac"),
    ("a FLAC file without frames", ("a.flac: ",), cut(sound(noise(16_000), format="FLAC"), 0.001), "flac"),
    ("text named .flac", ("a.flac: not readable as audio",), data(b"text" * 99), "flac"),
    (
        "the beginning of an Ogg file",
        ("a.ogg: ",),
        cut(sound(noise(16_000), format="OGG", subtype="VORBIS"), 0.2),
        "ogg",
    ),
    ("text named .ogg", ("a.ogg: not readable as audio",), data(b"OggS" + b"text" * 99), "ogg"),
    ("text named .mp3", ("a.mp3: not readable as audio",), data(b"text" * 99), "mp3"),
    ("an MP3 tag alone", ("a.mp3: not readable as audio",), data(b"ID3\x04\0\0\0\0\0\0"), "mp3"),
    (
        "samples without a header",
        ("a.raw: not readable as audio: samples without a header",),
        data(bytes(range(256)) * 99),
        "raw",
    ),
    (
        "an m4a file",
        ("a.wav: not readable as audio: it holds an m4a file",),
        data(b"\0\0\0\x18ftypM4A " + bytes(999)),
        "wav",
    ),
    (
        "a video container",
        ("a.mp4: not readable as audio: it holds MPEG-4",),
        data(b"\0\0\0\x18ftypmp42" + bytes(999)),
        "mp4",
    ),
    ("a RIFF that is no WAVE", ("a.avi: not readable as audio",), data(b"RIFF\x10\0\0\0AVI LIST" + bytes(99)), "avi"),
)
NOTICED: tuple[tuple[str, tuple[str, ...], Make, str], ...] = (
    (
        "samples of 1000",
        ("samples up to ±999", "where full scale is ±1"),
        sound(noise(scale=1000), subtype="FLOAT"),
        "wav",
    ),
    ("samples of 32768", ("samples up to ±3.276e+04",), sound(noise(scale=32768), subtype="DOUBLE"), "wav"),
    ("samples of 2", ("samples up to ±1.99",), sound(noise(scale=2), subtype="FLOAT"), "wav"),
    ("silence", ("a.wav: silent, all 1600 samples are zero",), sound(np.zeros(1600)), "wav"),
    (
        "a constant",
        ("a.wav: silent, all 1600 samples are the same, 0.5",),
        sound(np.full(1600, 0.5), subtype="FLOAT"),
        "wav",
    ),
    (
        "a constant in each of two channels",
        ("a.wav: silent, all 1600 samples are the same",),
        sound(np.tile([0.5, -0.25], (1600, 1)), subtype="FLOAT"),
        "wav",
    ),
    (
        "channels that cancel",
        ("its 2 channels cancel each other",),
        sound(np.outer(noise(), [1, -1]), subtype="FLOAT"),
        "wav",
    ),
    ("zeros at the end", ("its last 0.50 s are digital zeros",), sound(np.r_[noise(), np.zeros(8000)]), "wav"),
    ("96 kHz", ("a.wav: 96000 Hz, resampled to 16000 Hz",), sound(noise(9600), 96_000), "wav"),
    ("24414 Hz", ("a.wav: 24414 Hz, resampled",), sound(noise(24414), 24_414), "wav"),
    ("768 kHz", ("a.wav: 768000 Hz, resampled",), sound(noise(76_800), 768_000), "wav"),
    ("767999 Hz", ("a.wav: 767999 Hz, resampled",), sound(noise(76_800), 767_999), "wav"),
    ("1 kHz", ("a.wav: 1000 Hz, resampled",), sound(noise(1000), 1000), "wav"),
    ("8 bits", (), sound(noise(), subtype="PCM_U8"), "wav"),
    ("24 bits", (), sound(noise(), subtype="PCM_24"), "wav"),
    ("64-bit floating point", (), sound(noise(), subtype="DOUBLE"), "wav"),
    ("A-law", (), sound(noise(), subtype="ALAW"), "wav"),
    ("GSM 6.10", (), sound(noise(), subtype="GSM610", format="WAV"), "wav"),
    ("a size of 0, as killed recorders leave it", (), data(riff(size=0)), "wav"),
    ("a size of 0 in all of the header", (), data(riff(size=0, total=0)), "wav"),
    ("WAV named .raw", (), sound(noise(), format="WAV"), "raw"),
    ("dither", ("a.wav: as good as silent",), data(riff(b"\1\0\0\0" * 800)), "wav"),
    ("an offset", ("a.wav: a constant of 0.4",), sound(0.4 + noise(scale=0.01), subtype="FLOAT"), "wav"),
    (
        "60 s among clips of 0.1 s",
        ("a.wav: lasts 60 s, where half of the clips last up to 0.1 s",),
        sound(noise(60 * RATE)),
        "wav",
    ),
    ("25 ms among clips of 0.1 s", (), sound(noise(400)), "wav"),
    ("24 channels", ("a.wav: 24 channels, averaged",), sound(noise(channels=24)), "wav"),
    ("AIFF named .wav", (), sound(noise(), format="AIFF"), "wav"),
    ("FLAC", (), sound(noise(), format="FLAC"), "flac"),
    ("Ogg Vorbis", (), sound(noise(), format="OGG", subtype="VORBIS"), "ogg"),
    ("MP3", (), sound(noise(), format="MP3", subtype="MPEG_LAYER_III"), "mp3"),
    ("a size of -1, as streams have", (), patched(sound(noise()), 40, b"\xff\xff\xff\xff"), "wav"),
    ("a size of 2^31 - 1", (), patched(sound(noise()), 40, b"\xff\xff\xff\x7f"), "wav"),
    ("a link to audio", (), lambda path: (sound(noise())(path.with_name("x.wav")), path.symlink_to("x.wav")), "wav"),
    ("an ending in capitals", (), sound(noise(), format="WAV"), "WAV"),
    (
        "bytes after the samples",
        (),
        lambda path: path.write_bytes(riff(bytes(range(256)) * 9) + b"LIST\4\0\0\0INFO"),
        "wav",
    ),
)


@table(
    *(file(name, says, make, ending) for name, says, make, ending in FAULTY),
    *(
        file(f"{name}, skipped", ("going on without 1 of 7 utterances",), make, ending, 0, "--skip-bad")
        for name, says, make, ending in FAULTY[::6]
    ),
    *(
        file(f"{name}, with zeros trimmed", says, make, ending, 2, "--trim-zeros")
        for name, says, make, ending in FAULTY[::9]
    ),
    *(file(f"{name}, in run", says, make, ending, command="run") for name, says, make, ending in FAULTY[::4]),
    file("a pipe, in run", ("a.wav: is a pipe or a device",), os.mkfifo, command="run"),
    *(file(name, says, make, ending, 0) for name, says, make, ending in NOTICED),
)
def test_audio(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hold(fault, tmp_path, capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hold(file("", ("a.wav: not readable as audio", "Permission denied"), locked), tmp_path, capsys)
