"""Effects: what was asked is measured in what comes out."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import soundfile

from s3prl_emotion.audio import AudioError
from s3prl_emotion.audio.augmentation import effects
from s3prl_emotion.audio.augmentation.transforms import diffuse_response
from s3prl_emotion.audio.augmenting import DEFAULT, Augmentation
from s3prl_emotion.errors import ConfigError

pytest.importorskip("audiomentations")

RATE = 16_000


def tone(duration_s: float = 1.0, hertz: float = 220.0) -> np.ndarray:
    times = np.arange(round(duration_s * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * times) + 0.1 * np.sin(4 * np.pi * hertz * times)).astype(np.float32)


def speechlike(duration_s: float = 1.0, seed: int = 0) -> np.ndarray:
    """Noise in bursts, with pauses of exact zeros."""
    samples = np.random.default_rng(seed).normal(size=round(duration_s * RATE)) * 0.1
    samples[len(samples) // 3 : len(samples) // 2] = 0
    return samples.astype(np.float32)


def snr(clean: np.ndarray, disturbed: np.ndarray) -> float:
    noise = disturbed.astype(np.float64) - clean
    return float(10 * np.log10(np.mean(clean.astype(np.float64) ** 2) / np.mean(noise**2)))


def pitch(samples: np.ndarray) -> float:
    """The frequency of the strongest partial of the middle half, in hertz."""
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 16 * len(middle)))
    return float(spectrum.argmax()) * RATE / (16 * len(middle))


@pytest.fixture(params=effects.names())
def effect(request):
    return effects.build(request.param, {})


class TestEveryEffect:
    def test_is_registered_under_its_name(self, effect):
        assert effects.get(effect.name) is type(effect)

    def test_result_depends_on_the_key_alone(self, effect):
        first = effect(speechlike(), RATE, 7, "a", 0)
        random.seed(5)
        np.random.seed(5)
        again = effect(speechlike(), RATE, 7, "a", 0)
        np.testing.assert_array_equal(first.samples, again.samples)
        assert first.record == again.record

    def test_global_random_state_is_not_moved(self, effect):
        random.seed(3)
        np.random.seed(3)
        before = random.getstate(), np.random.get_state()
        effect(speechlike(), RATE, 1)
        after = random.getstate(), np.random.get_state()
        assert before[0] == after[0]
        assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))

    def test_float32_finite_and_input_kept(self, effect):
        clean = speechlike()
        kept = clean.copy()
        found = effect(clean, RATE, 1).samples
        np.testing.assert_array_equal(clean, kept)
        assert found.dtype == np.float32
        assert found.ndim == 1
        assert np.isfinite(found).all()

    @pytest.mark.parametrize("count", [400, 401, 1000, 16_001])
    def test_length_stays_unless_stretched(self, effect, count):
        found = len(effect(speechlike(2.0)[:count], RATE, 1).samples)
        assert found >= 400
        if effect.name != "time_stretch":
            assert found == count

    def test_record_holds_plain_values(self, effect):
        record = effect(speechlike(), RATE, 1).record
        assert record["effect"] == effect.name
        assert all(isinstance(value, (int, float, str)) for value in record.values())

    def test_unknown_option_is_refused(self, effect):
        with pytest.raises(ConfigError, match=f"here: unknown option 'colour' of effect '{effect.name}'"):
            effects.build(effect.name, {"colour": 1}, "here")


class TestNoise:
    @pytest.mark.parametrize("wanted", [-5.0, 0.0, 5.0, 10.0, 20.0, 40.0])
    @pytest.mark.parametrize("count", [400, 8000])
    def test_white_has_the_asked_ratio(self, wanted, count):
        clean = speechlike()[:count]
        found = effects.build("noise", {"snr_db": wanted})(clean, RATE, 1, "x")
        assert snr(clean, found.samples) == pytest.approx(wanted, abs=0.01)

    def test_white_is_white(self):
        clean = tone(4.0)
        noise = effects.build("noise", {"snr_db": 0})(clean, RATE, 1).samples - clean
        bands = [np.mean(part**2) for part in np.array_split(np.abs(np.fft.rfft(noise)), 8)]
        assert max(bands) / min(bands) < 1.2

    @pytest.mark.parametrize(("rate", "duration_s"), [(16_000, 3.0), (44_100, 3.0), (16_000, 0.13), (8_000, 0.3)])
    def test_a_recording_has_the_asked_ratio(self, tmp_path, rate, duration_s):
        noise = np.random.default_rng(0).normal(size=round(rate * duration_s)) * np.linspace(
            0.01, 0.3, round(rate * duration_s)
        )
        soundfile.write(tmp_path / "hum.wav", noise, rate)
        clean = speechlike()
        found = effects.build("noise", {"snr_db": 10, "folder": str(tmp_path)})(clean, RATE, 1)
        assert snr(clean, found.samples) == pytest.approx(10, abs=0.01)
        assert found.record == {"effect": "noise", "snr_db": 10.0, "file": "hum.wav"}

    def test_what_is_added_is_the_recording(self, tmp_path):
        noise = np.random.default_rng(0).normal(size=3 * RATE) * 0.1
        soundfile.write(tmp_path / "hum.wav", noise, RATE, subtype="FLOAT")
        clean = tone()
        added = effects.build("noise", {"snr_db": 0, "folder": str(tmp_path)})(clean, RATE, 1).samples - clean
        similarity = [abs(np.dot(added, noise[start : start + len(added)])) for start in range(len(noise) - len(added))]
        best = int(np.argmax(similarity))
        assert np.corrcoef(added, noise[best : best + len(added)])[0, 1] > 0.999

    def test_files_of_a_folder_are_all_drawn(self, tmp_path):
        (tmp_path / "inside").mkdir()
        for name in ("a.wav", "inside/b.flac"):
            soundfile.write(tmp_path / name, np.random.default_rng(0).normal(size=RATE) * 0.1, RATE)
        (tmp_path / "notes.txt").write_text("no audio")
        effect = effects.build("noise", {"folder": str(tmp_path)})
        assert {effect(speechlike(), RATE, number).record["file"] for number in range(20)} == {"a.wav", "inside/b.flac"}

    def test_silence_has_no_ratio(self):
        with pytest.raises(AudioError, match=r"clip\.wav: effect 'noise': 5 dB above the noise is not defined"):
            effects.build("noise", {"snr_db": 5})(np.zeros(1600, np.float32), RATE, 1, name="clip.wav")

    def test_a_silent_noise_is_refused(self, tmp_path):
        soundfile.write(tmp_path / "nothing.wav", np.zeros(RATE), RATE)
        with pytest.raises(AudioError, match=r"nothing\.wav is silent where it was taken"):
            effects.build("noise", {"folder": str(tmp_path)})(speechlike(), RATE, 1)

    def test_a_folder_without_audio_is_refused(self, tmp_path):
        with pytest.raises(AudioError, match="no audio file in this folder"):
            effects.build("noise", {"folder": str(tmp_path)})
        with pytest.raises(AudioError, match="no such folder"):
            effects.build("noise", {"folder": str(tmp_path / "absent")})

    def test_a_corrupt_noise_is_named(self, tmp_path):
        (tmp_path / "bad.wav").write_bytes(b"RIFF" + bytes(60))
        with pytest.raises(AudioError, match=r"bad\.wav"):
            effects.build("noise", {"folder": str(tmp_path)})(speechlike(), RATE, 1)


@pytest.mark.parametrize("rate", [0.8, 0.9, 1.0, 1.1, 1.25])
@pytest.mark.parametrize("duration_s", [0.3, 2.0])
def test_duration_and_pitch_of_a_stretched_clip(rate, duration_s):
    found = effects.build("time_stretch", {"rate": rate})(tone(duration_s), RATE, 1).samples
    assert len(found) / RATE == pytest.approx(duration_s / rate, rel=0.01)
    assert pitch(found) == pytest.approx(220, rel=0.01)


@pytest.mark.parametrize("semitones", [-4.0, -1.5, 1.0, 3.0])
def test_pitch_and_duration_of_a_shifted_clip(semitones):
    clean = tone(3.0)
    found = effects.build("pitch_shift", {"semitones": semitones})(clean, RATE, 1).samples
    assert len(found) == len(clean)
    assert 12 * np.log2(pitch(found) / pitch(clean)) == pytest.approx(semitones, rel=0.01)


@pytest.mark.parametrize("gain_db", [-20.0, 6.0, 30.0])
def test_gain(gain_db):
    found = effects.build("gain", {"gain_db": gain_db})(tone(), RATE, 1).samples
    np.testing.assert_allclose(found, tone() * 10 ** (gain_db / 20), rtol=1e-5)


@pytest.mark.parametrize(("hertz", "level_db"), [(100, -40), (300, -3), (1000, 0), (3400, -3), (7000, -40)])
def test_band_of_a_telephone(hertz, level_db):
    clean = tone(1.0, hertz) if hertz < 4000 else np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    clean = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    found = effects.build("telephone", {})(clean, RATE, 1).samples[RATE // 4 :]
    level = 20 * np.log10(found.std() / clean.std())
    assert level < level_db if level_db == -40 else level == pytest.approx(level_db, abs=0.2)


class TestReverberation:
    @pytest.mark.parametrize("rt60_s", [0.2, 0.6])
    def test_decay_is_that_of_the_asked_time(self, rt60_s):
        """Schroeder's backward integration: the level between -5 and -25 dB, extrapolated to 60."""
        response = diffuse_response(rt60_s, -20.0, RATE, np.random.default_rng(0))
        energy = np.cumsum(response[:0:-1] ** 2)[::-1]
        level = 10 * np.log10(energy / energy[0])
        first, last = int((level < -5).argmax()), int((level < -25).argmax())
        assert 3 * (last - first) / RATE == pytest.approx(rt60_s, rel=0.05)

    def test_direct_sound_over_the_rest(self):
        response = diffuse_response(0.5, 6.0, RATE, np.random.default_rng(0))
        assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(6)

    def test_level_stays(self):
        found = effects.build("reverberation", {"rt60_s": 0.5})(speechlike(), RATE, 1).samples
        assert found.std() == pytest.approx(speechlike().std(), rel=0.01)

    def test_a_recorded_response_is_convolved_from_its_peak(self, tmp_path):
        response = np.zeros(800)
        response[[100, 500]] = 1.0, 0.5
        soundfile.write(tmp_path / "room.wav", response, RATE, subtype="FLOAT")
        clean = speechlike()
        found = effects.build("reverberation", {"folder": str(tmp_path)})(clean, RATE, 1)
        expected = clean.copy()
        expected[400:] += 0.5 * clean[:-400]
        assert np.corrcoef(found.samples, expected)[0, 1] == pytest.approx(1)
        assert found.record == {"effect": "reverberation", "file": "room.wav"}

    def test_silence_stays_silent(self):
        assert not effects.build("reverberation", {})(np.zeros(1000, np.float32), RATE, 1).samples.any()


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("noise", {"snr_db": "loud"}, "snr_db must be a number in -30 to 80, or a list of two"),
        ("noise", {"snr_db": [30, 10]}, "the first of the two must not be above the second"),
        ("noise", {"snr_db": [1, 2, 3]}, "a list of two"),
        ("noise", {"snr_db": True}, "must be a number"),
        ("noise", {"snr_db": float("nan")}, "must be a number"),
        ("noise", {"folder": 5}, "folder must be a folder with audio files"),
        ("time_stretch", {"rate": 0}, "rate must be a number in 0.25 to 4"),
        ("pitch_shift", {"semitones": 99}, "semitones must be a number in -12 to 12"),
        ("telephone", {"low_hz": 4000}, "low_hz < high_hz"),
        ("telephone", {"rolloff_db": 7}, "multiple of 6"),
        ("reverberation", {"rt60_s": -1}, "rt60_s must be a number in 0.05 to 10"),
        ("nose", {}, "unknown effect 'nose'. Did you mean 'noise'?"),
    ],
)
def test_wrong_options(name, options, expected):
    with pytest.raises(ConfigError, match=expected):
        effects.build(name, options)


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "audiomentations", None)
    with pytest.raises(ConfigError, match=r"pip install 's3prl-emotion\[augmentation\]'"):
        effects.build("noise", {})


class TestAugmentation:
    def test_effects_are_drawn_by_their_probabilities(self):
        chain = Augmentation.of([{"name": "gain", "p": 0.2}, {"name": "telephone", "p": 0.8}], "here")
        drawn = [[item["effect"] for item in chain(tone(0.05), RATE, number)[1]] for number in range(300)]
        assert sum("gain" in item for item in drawn) / 300 == pytest.approx(0.2, abs=0.07)
        assert sum("telephone" in item for item in drawn) / 300 == pytest.approx(0.8, abs=0.07)
        assert any(not item for item in drawn)

    def test_a_copy_is_none_of_the_original(self):
        chain = Augmentation.of([{"name": "gain", "p": 0.01}, {"name": "telephone", "p": 0.01}], "here")
        drawn = [chain(tone(0.05), RATE, number, at_least_one=True)[1] for number in range(30)]
        assert all(drawn)
        assert {item["effect"] for record in drawn for item in record} == {"gain", "telephone"}

    def test_the_default_has_what_the_paper_names(self):
        chain = Augmentation.of(DEFAULT, "here")
        assert [effect.name for effect, _ in chain.effects] == ["noise", "time_stretch", "pitch_shift", "gain"]

    def test_record_and_seed_tell_the_samples(self):
        chain = Augmentation.of(DEFAULT, "here")
        samples, record = chain(speechlike(), RATE, 1, "u", 2)
        again, same = chain(speechlike(), RATE, 1, "u", 2)
        other, _ = chain(speechlike(), RATE, 1, "u", 3)
        np.testing.assert_array_equal(samples, again)
        assert record == same
        assert not np.array_equal(samples, other)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ([], r"here: expected a list of effects"),
            ("noise", r"here: expected a list of effects"),
            (["noise"], r"here\[0\]: expected an effect as keys and values"),
            ([{"p": 0.5}], r"here\[0\]: expected an effect as keys and values"),
            ([{"name": "gain", "p": 0}], r"here\[0\].p: expected a probability above 0"),
            ([{"name": "gain", "p": "often"}], r"here\[0\].p: expected a probability"),
            ([{"name": "gain"}, {"name": "gian"}], r"here\[1\]: unknown effect 'gian'. Did you mean 'gain'"),
            ([{"name": "gain", "gain": 3}], r"here\[0\]: unknown option 'gain' of effect 'gain'"),
        ],
    )
    def test_wrong_lists(self, given, expected):
        with pytest.raises(ConfigError, match=expected):
            Augmentation.of(given, "here")
