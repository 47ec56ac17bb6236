"""Audio files of every kind, good and bad."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from s3prl_emotion.audio import AudioError, as_waveform, audio_info, read_audio, read_segment, reading
from s3prl_emotion.errors import CorpusError


def tone(rate=16000, duration_s=1.0, frequency=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * duration_s)) / rate)


def test_16_khz_mono_comes_back_unchanged(tmp_path):
    stored = (tone() * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", stored, 16000)
    samples = read_audio(tmp_path / "a.wav")
    assert samples.dtype == np.float32
    assert samples.flags.c_contiguous
    np.testing.assert_array_equal(samples, stored / np.float32(32768))
    info = audio_info(str(tmp_path / "a.wav"))
    assert (info.sample_rate_hz, info.channels, info.frames, info.duration_s) == (16000, 1, 16000, 1.0)


def test_stereo_is_averaged(tmp_path):
    left, right = tone(), tone(frequency=1000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), (left + right) / 2, atol=1e-6)
    samples, rate = read_segment(tmp_path / "a.wav")
    assert samples.shape == (16000, 2)
    assert rate == 16000


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_are_resampled_as_torchaudio_does(tmp_path, rate):
    import torch
    import torchaudio

    soundfile.write(tmp_path / "a.wav", tone(rate), rate, subtype="FLOAT")
    samples = read_audio(tmp_path / "a.wav")
    stored = torch.from_numpy(tone(rate).astype(np.float32))
    np.testing.assert_array_equal(samples, torchaudio.transforms.Resample(rate, 16000)(stored).numpy())
    assert len(samples) == 16000
    np.testing.assert_allclose(samples[500:-500], tone()[500:-500], atol=5e-3)


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_other_formats(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", tone(), 16000)
    assert read_audio(tmp_path / f"a.{suffix}").shape == (16000,)


def test_segment(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16000, subtype="FLOAT")
    whole = read_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 0.25, 0.5), whole[4000:8000])
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", end_s=1.009), whole)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", start_s=0.9), whole[14400:])


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(0.5, 1.02), (1.0, None), (-0.1, None), (0.5, 0.5), (0.6, 0.5), (float("nan"), None)]
)
def test_segment_outside_of_the_file(tmp_path, start_s, end_s):
    soundfile.write(tmp_path / "long.wav", tone(), 16000)
    with pytest.raises(AudioError, match=r"long\.wav: segment .* s ") as caught:
        read_audio(tmp_path / "long.wav", start_s, end_s)
    assert caught.value.kind == "segment"


def bad_file(folder, kind):
    path = folder / f"{kind}.wav"
    soundfile.write(path, tone(), 16000)
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "pointer":
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "header-only":
        path.write_bytes(content[:20])
    elif kind == "noise":
        path.write_bytes(b"not audio at all " * 50)
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "no-samples":
        soundfile.write(path, np.zeros(0), 16000)
    elif kind == "nan":
        samples = tone()
        samples[3] = np.nan
        soundfile.write(path, samples, 16000, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("missing", "missing", "no such audio file"),
        ("folder", "missing", "is a folder"),
        ("pointer", "git-lfs", "git lfs pull"),
        ("truncated", "corrupt", "cut off"),
        ("header-only", "corrupt", "not readable as audio"),
        ("noise", "corrupt", "not readable as audio"),
        ("nothing", "empty", "0 bytes"),
        ("no-samples", "empty", "no samples"),
        ("nan", "non-finite", "1 samples are not finite"),
    ],
)
def test_bad_files_are_named(tmp_path, name, kind, words):
    path = bad_file(tmp_path, name)
    with pytest.raises(CorpusError, match=words) as caught:
        read_audio(path)
    assert isinstance(caught.value, AudioError)
    assert caught.value.kind == kind
    assert str(path) in str(caught.value)


def test_streamed_wav_with_unknown_length_is_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert read_audio(tmp_path / "a.wav").shape == (16000,)


def test_error_survives_a_worker_process(tmp_path):
    with pytest.raises(AudioError) as caught:
        read_audio(tmp_path / "absent.wav")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (str(copy), copy.kind) == (str(caught.value), "missing")


def test_import_is_light():
    code = "import sys, s3prl_emotion.audio; sys.exit('torch' in sys.modules or 'torchaudio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_rate_with_a_huge_kernel_is_converted_too() -> None:
    """24414 Hz, TESS's rate, has no small ratio to 16 kHz: a 1 kHz tone stays one."""
    rate = 24414
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)[:, None]
    converted = as_waveform(tone, rate)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert converted.shape == (16000,)
    assert np.abs(converted - expected)[200:-200].max() < 2e-3


def test_a_header_that_promises_more_than_memory_holds_is_refused(tmp_path):
    """A FLAC header counts samples in 36 bits: 2^36 - 1 of them would take 256 GB."""
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(), 16000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    assert audio_info(path).frames == 2**36 - 1
    with pytest.raises(AudioError, match=r"a\.flac: "):
        read_audio(path)


def test_blocks_are_joined(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.c_[tone(), -tone()], 16000)
    whole, _ = read_segment(tmp_path / "a.wav", 0.1, 0.9)
    monkeypatch.setattr(reading, "_BLOCK", 700)
    np.testing.assert_array_equal(read_segment(tmp_path / "a.wav", 0.1, 0.9)[0], whole)


@pytest.mark.parametrize("rate", [1, 999, 768_001])
def test_rates_that_no_recorder_has_are_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(), rate)
    for read in (read_audio, audio_info):
        with pytest.raises(AudioError, match=f"its header says {rate} Hz, expected 1000 to 768000 Hz"):
            read(tmp_path / "a.wav")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(AudioError, match="is a pipe or a device"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="a link that leads nowhere"):
        audio_info(tmp_path / "loop.wav")


@pytest.mark.parametrize("value", [1e30, -1e30])
def test_samples_that_cannot_be_audio_are_refused(tmp_path, value):
    samples = tone()
    samples[5] = value
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: samples up to 1e\+30, where full scale is 1"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "ULAW"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST"])
def test_files_that_are_cut_off_are_refused_whatever_their_format(tmp_path, kind, subtype):
    path = tmp_path / "a.wav"
    for channels in (1, 3):
        soundfile.write(path, np.tile(tone()[:1001, None], (1, channels)), 16000, format=kind, subtype=subtype)
        assert len(read_audio(path)) >= 1001, "complete"
        content = path.read_bytes()
        path.write_bytes(content[:-2])
        assert len(read_audio(path)) >= 999, "10 ms may be missing"
        path.write_bytes(content[: len(content) - 700 * channels])
        with pytest.raises(AudioError, match=r"a\.wav: cut off: its header promises \d+ bytes of audio, \d+ of them"):
            read_audio(path)
