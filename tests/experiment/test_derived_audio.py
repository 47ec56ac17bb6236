"""Copies and cleaned recordings as files: through ``prepare`` and ``run``, alike for everyone, made once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora.audible import audible_five, voice

from s3prl_emotion.audio import read_audio, waveform_key
from s3prl_emotion.audio.augmentation import effects
from s3prl_emotion.audio.augmenting import DEFAULT, Augmentation
from s3prl_emotion.audio.derived import DerivedFile, job_name, make_all, path_of, record_of, storable, write
from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.protocols import Folds

pytest.importorskip("audiomentations")

SHORT = "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=2,,config.runner.log_step=2"
FAST = "augmentation:\n- {name: noise, snr_db: [5, 20]}\n- {name: gain}\n"


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    return audible_five(tmp_path_factory.mktemp("five"))


@pytest.fixture
def fast(tmp_path):
    path = tmp_path / "fast.yaml"
    path.write_text(FAST)
    return path


def prepare(out: Path, *more: object) -> int:
    return main(["prepare", "--out", str(out), *map(str, more)])


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.flac"))}


class TestCopiesOfTheFiveCorpora:
    @pytest.fixture(scope="class")
    def made(self, five, tmp_path_factory):
        folder = tmp_path_factory.mktemp("made")
        assert prepare(folder / "out", "--corpus", "five", "--data", five, "--balance", 40, "--audio-root", folder) == 0
        return folder

    def test_every_training_part_is_balanced(self, made):
        manifest, folds = Manifest.read(made / "out" / "manifest.jsonl"), Folds.read(made / "out" / "folds.json")
        assert len(folds.folds) == 5
        for fold in folds.folds:
            assert set(Counter(manifest.by_id[item].label for item in fold.train).values()) == {40}
            assert not [item for item in (*fold.dev, *fold.test) if manifest.by_id[item].source]
            heard = {manifest.by_id[item].source or item for item in fold.train}
            assert not heard & {*fold.dev, *fold.test}

    def test_the_record_makes_the_copy_again(self, made):
        manifest = Manifest.read(made / "out" / "manifest.jsonl")
        copies = [item for item in manifest.utterances if item.source]
        assert copies
        chain = Augmentation.of(DEFAULT, "here")
        for copy in copies[:20]:
            source = manifest.by_id[copy.source]
            number = int(copy.id.rpartition("#")[2])
            samples = read_audio(manifest.path_of(source))
            again, record = chain(samples, 16_000, 0, source.id, number, at_least_one=True)
            found = read_audio(copy.path)
            np.testing.assert_array_equal(found, storable(again))
            assert copy.augmentation == record
            assert copy.content == waveform_key(found)
            assert copy.speaker == source.speaker
            assert copy.corpus == source.corpus
            assert copy.duration_s == pytest.approx(len(found) / 16_000)

    def test_effects_follow_from_what_is_recorded_alone(self, made):
        """A record of one effect, applied with its parameters as options, is the same change."""
        manifest = Manifest.read(made / "out" / "manifest.jsonl")
        gains = [item for item in manifest.utterances if [e["effect"] for e in item.augmentation or ()] == ["gain"]]
        copy = gains[0]
        effect = effects.build("gain", {"gain_db": copy.augmentation[0]["gain_db"]})
        samples = read_audio(manifest.path_of(manifest.by_id[copy.source]))
        np.testing.assert_array_equal(storable(effect(samples, 16_000).samples), read_audio(copy.path))

    def test_nothing_is_made_again(self, five, made):
        before = {path: path.stat().st_mtime_ns for path in made.rglob("*.flac")}
        assert prepare(made / "2", "--corpus", "five", "--data", five, "--balance", 40, "--audio-root", made) == 0
        assert {path: path.stat().st_mtime_ns for path in made.rglob("*.flac")} == before
        assert (made / "2" / "folds.json").read_bytes() == (made / "out" / "folds.json").read_bytes()
        assert (made / "2" / "manifest.jsonl").read_bytes() == (made / "out" / "manifest.jsonl").read_bytes()

    def test_a_damaged_file_is_made_again(self, five, made, capsys):
        first, second = sorted(made.rglob("*.flac"))[:2]
        before = first.read_bytes(), second.read_bytes()
        first.write_bytes(before[0][:200])
        second.write_bytes(b"")
        assert prepare(made / "2", "--corpus", "five", "--data", five, "--balance", 40, "--audio-root", made) == 0
        assert (first.read_bytes(), second.read_bytes()) == before
        assert "2 damaged files" in capsys.readouterr().err

    def test_the_released_order_leaks_and_says_so(self, five, made, capsys):
        argv = ["--corpus", "five", "--data", five, "--balance", 40, "--audio-root", made]
        assert prepare(made / "leaky", *argv, "--protocol", "paper-d-released") == 0
        assert re.search(r"sibling shared by train and dev: \d+ % \(declared\)", capsys.readouterr().err)
        found = json.loads((made / "leaky" / "audit.json").read_text())["findings"]
        assert {(item["kind"], tuple(item["between"]), item["status"]) for item in found} >= {
            ("sibling", ("train", "dev"), "declared")
        }
        assert not [item for item in found if item["kind"] == "sibling" and "test" in item["between"]]


class TestSeveralProcesses:
    def command(self, root: Path, out: Path, audio: Path) -> list[str]:
        argv = [sys.executable, "-m", "s3prl_emotion", "prepare", "--corpus", "demo", "--data", str(root)]
        options = ["--balance", "30", "--augmentation", str(audio.parent / "fast.yaml"), "--audio-root", str(audio)]
        return [*argv, "--out", str(out), *options]

    @pytest.mark.slow
    def test_at_once_and_one_alone_make_the_same_bytes(self, demo_root, tmp_path, fast):
        both = [
            subprocess.Popen(self.command(demo_root, tmp_path / f"out{k}", tmp_path / "two"), stderr=subprocess.PIPE)
            for k in range(2)
        ]
        assert [process.wait() for process in both] == [0, 0]
        subprocess.run(self.command(demo_root, tmp_path / "out", tmp_path / "one"), check=True, capture_output=True)
        assert files(tmp_path / "two") == files(tmp_path / "one") != {}
        assert not list(tmp_path.rglob("*.tmp"))
        one, other = ((tmp_path / name / "manifest.jsonl").read_text() for name in ("out", "out0"))
        assert one.replace(str(tmp_path / "one"), "") == other.replace(str(tmp_path / "two"), "")

    @pytest.mark.slow
    def test_killed_at_any_file_it_goes_on(self, demo_root, tmp_path, fast):
        subprocess.run(self.command(demo_root, tmp_path / "out", tmp_path / "one"), check=True, capture_output=True)
        expected = files(tmp_path / "one")
        process = subprocess.Popen(
            self.command(demo_root, tmp_path / "killed", tmp_path / "two"), stderr=subprocess.PIPE
        )
        while process.poll() is None and len(list((tmp_path / "two").rglob("*.flac"))) < 5:
            pass
        process.kill()
        process.wait()
        there = {path: path.stat().st_mtime_ns for path in (tmp_path / "two").rglob("*.flac")}
        assert 0 < len(there) < len(expected)
        assert not (tmp_path / "killed" / "manifest.jsonl").exists()
        subprocess.run(self.command(demo_root, tmp_path / "killed", tmp_path / "two"), check=True, capture_output=True)
        assert files(tmp_path / "two") == expected
        assert all(path.stat().st_mtime_ns == time for path, time in there.items())
        assert not list((tmp_path / "two").rglob("*.tmp"))


class TestARunOnCopies:
    @pytest.fixture
    def argv(self, demo_root, tmp_path, fast):
        argv = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "demo", "--data", demo_root, "--fold", "1"]
        argv += ["--device", "cpu", "-o", SHORT, "--cache-root", tmp_path / "cache", "--audio-root", tmp_path / "audio"]
        return [str(item) for item in [*argv, "-p", tmp_path / "run", "--augmentation", fast]]

    def test_it_trains_on_them_with_stored_states_and_records_it(self, argv, tmp_path, capsys):
        assert main([*argv, "--balance", "20"]) == 0
        folds = Folds.read(tmp_path / "run" / "folds.json")
        assert sum("#" in item for item in folds[1].train) > 0
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        assert about["balance"]["size"] == 20
        assert [item["name"] for item in about["balance"]["effects"]] == ["noise", "gain"]
        assert "--balance 20" in json.loads((tmp_path / "run" / "results.json").read_text())["settings"]["deviations"]
        assert "--balance 20" in capsys.readouterr().out
        assert main(["audit", str(tmp_path / "run")]) == 0

    def test_another_balance_is_another_run(self, argv, capsys):
        assert main([*argv, "--balance", "20"]) == 0
        assert main([*argv, "--balance", "20"]) == 0
        assert main([*argv, "--balance", "21"]) == 2
        assert "balance.size" in capsys.readouterr().err
        plain = [item for item in argv if item != "--augmentation" and not item.endswith(".yaml")]
        assert main(plain) == 2
        assert "balance" in capsys.readouterr().err

    def test_with_and_without_can_be_compared(self, argv, tmp_path, capsys):
        assert main([*argv, "--balance", "20"]) == 0
        plain = [item for item in argv if item not in ("--augmentation", str(tmp_path / "fast.yaml"))]
        assert main([str(tmp_path / "plain") if item == str(tmp_path / "run") else item for item in plain]) == 0
        capsys.readouterr()
        assert main(["compare", str(tmp_path / "run"), str(tmp_path / "plain")]) == 0
        assert "p Holm: p bootstrap adjusted for 1 comparison" in capsys.readouterr().out


class TestCleaning:
    @pytest.fixture(scope="class")
    def spoken(self, tmp_path_factory):
        """Two speakers in three, with silence around and within what is said; one clip is short, and one is silent."""
        folder = tmp_path_factory.mktemp("spoken")
        rows = ["path,label,speaker"]
        gap = np.zeros(8000)
        for speaker in range(3):
            for number, label in enumerate(("angry", "sad") * 2):
                name = f"{speaker}-{number}.wav"
                part = voice(10 * speaker + number, 0.8)
                samples = np.concatenate([gap, part, gap, part, gap])
                if (speaker, number) == (0, 0):
                    samples = np.concatenate([gap, part[:6000], gap])
                if (speaker, number) == (1, 1):
                    samples = np.zeros(30_000)
                soundfile.write(folder / name, samples, 16_000)
                rows.append(f"{name},{label},s{speaker}")
        (folder / "calls.csv").write_text("\n".join(rows) + "\n")
        return folder / "calls.csv"

    @pytest.fixture(scope="class")
    def made(self, spoken, tmp_path_factory):
        pytest.importorskip("noisereduce")
        folder = tmp_path_factory.mktemp("cleaned")
        argv = ["--corpus", "table", "--data", spoken, "--preparation", "paper-d", "--audio-root", folder / "audio"]
        assert prepare(folder / "out", *argv) == 0
        return folder

    def test_what_is_short_or_silent_is_dropped(self, made, spoken):
        manifest = Manifest.read(made / "out" / "manifest.jsonl")
        assert len(manifest.utterances) == 10
        assert not {"0-0.wav", "1-1.wav"} & {item.id for item in manifest.utterances}
        assert all(1.0 <= item.duration_s < 2.5 for item in manifest.utterances)

    def test_it_is_what_the_libraries_make(self, made, spoken):
        import librosa
        import noisereduce

        manifest = Manifest.read(made / "out" / "manifest.jsonl")
        for item in manifest.utterances[:2]:
            original, rate = soundfile.read(spoken.parent / f"{item.id.removesuffix('.wav')}.wav", dtype="float32")
            reduced = noisereduce.reduce_noise(y=original, sr=rate, n_fft=2048, hop_length=512)
            stretches = librosa.effects.split(reduced, top_db=40)
            expected = np.concatenate([reduced[first:last] for first, last in stretches])
            np.testing.assert_allclose(read_audio(item.path), expected, atol=0.6 / 32768)

    def test_prediction_hears_what_training_heard(self, made, spoken):
        manifest = Manifest.read(made / "out" / "manifest.jsonl")
        for item in manifest.utterances[:3]:
            path = spoken.parent / f"{item.id.removesuffix('.wav')}.wav"
            found = Preparation(cleaning="paper-d").prepare(path)
            np.testing.assert_array_equal(found.samples, read_audio(item.path))

    def test_audits_compare_the_recordings(self, made, spoken):
        """The fingerprint of the recording, so that pretraining data that was not cleaned is found."""
        assert prepare(made / "plain", "--corpus", "table", "--data", spoken) == 0
        cleaned, plain = (Manifest.read(made / name / "manifest.jsonl") for name in ("out", "plain"))
        assert all(item.sound == plain.by_id[item.id].sound != item.content for item in cleaned.utterances)

    def test_a_run_exports_its_preparation(self, made, spoken, tmp_path):
        argv = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "table", "--data", spoken, "--fold", 1]
        argv += ["--device", "cpu", "-o", SHORT, "-p", tmp_path / "run", "--cache-root", tmp_path / "cache"]
        argv += ["--preparation", "paper-d", "--audio-root", made / "audio"]
        assert main([str(item) for item in argv]) == 0
        assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "export")]) == 0
        assert json.loads((tmp_path / "export" / "config.json").read_text())["preparation"] == "paper-d"
        assert "cleaned first: paper-d" in (tmp_path / "export" / "README.md").read_text()
        silent = tmp_path / "silent.wav"
        soundfile.write(silent, np.zeros(16_000), 16_000)
        assert main(["predict", "--run", str(tmp_path / "export"), str(silent), "--device", "cpu"]) != 0

    @pytest.mark.slow
    def test_counts_stand_beside_the_papers(self, tmp_path, capsys, monkeypatch):
        noisereduce = pytest.importorskip("noisereduce")
        monkeypatch.setattr(noisereduce, "reduce_noise", lambda y, **_: y)  # 50 ms for each clip
        data = audible_five(tmp_path / "five", 1.2)
        argv = ["--corpus", "five", "--data", data, "--preparation", "paper-d", "--audio-root", tmp_path / "audio"]
        assert prepare(tmp_path / "out", *argv) == 0
        out = capsys.readouterr().out
        assert "arXiv 2312.11503 has 13236, here 312 (angry 54 of 2955, calm 24 of 192, disgust 44 of 1923, " in out

    def test_missing_library(self, monkeypatch, spoken, tmp_path, capsys):
        monkeypatch.setitem(sys.modules, "noisereduce", None)
        argv = ["--corpus", "table", "--data", spoken, "--preparation", "paper-d", "--audio-root", tmp_path]
        assert prepare(tmp_path / "out", *argv) == 2
        assert "pip install 's3prl-emotion[cleaning]'" in capsys.readouterr().err


class TestFiles:
    def test_above_full_scale_is_brought_below_it(self):
        found = storable(np.array([2.0, -1.0, 0.5], np.float32))
        assert np.abs(found).max() < 1
        assert found[0] / found[1] == pytest.approx(-2, rel=1e-4)

    def test_a_record_is_read_back(self, tmp_path):
        record = [{"effect": "noise", "file": "Geräusch.wav", "snr_db": 3.25}]
        samples = storable(voice(1, 0.1).astype(np.float32))
        write(tmp_path / "a.flac", samples, record)
        np.testing.assert_array_equal(read_audio(tmp_path / "a.flac"), samples)
        assert record_of(tmp_path / "a.flac") == record

    def test_only_what_is_missing_is_made(self, tmp_path):
        made = []

        def job(number: int) -> DerivedFile:
            def make():
                made.append(number)
                return voice(number, 0.05).astype(np.float32), {"number": number}

            return DerivedFile(job_name(number), make)

        jobs = [job(number) for number in range(20)]
        make_all(tmp_path, {"made": "test"}, jobs[:10])
        make_all(tmp_path, {"made": "test"}, jobs)
        assert sorted(made) == list(range(20))
        assert [record_of(path_of(tmp_path, item.name)) for item in jobs] == [{"number": k} for k in range(20)]

    def test_other_audio_in_its_place_is_refused(self, tmp_path, demo_root):
        shutil.copy(next(demo_root.rglob("*.wav")), tmp_path / "a.flac")
        with pytest.raises(Exception, match=r"a\.flac: no file of ours"):
            record_of(tmp_path / "a.flac")


def test_unknown_preparation_is_told_with_near_ones():
    from s3prl_emotion.audio.cleaning import cleaning

    with pytest.raises(ConfigError, match=r"--preparation: unknown preparation 'paper_d'. Did you mean 'paper-d'"):
        cleaning("paper_d", "--preparation")
