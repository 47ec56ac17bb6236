"""Augmentation while training: drawn from seed, epoch and utterance, so that a training that goes on hears the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from s3prl_emotion.cli import main
from s3prl_emotion.downstream.expert import DownstreamExpert
from s3prl_emotion.downstream.settings import check_config
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.protocols import make_folds
from s3prl_emotion.s3prl_runner.registration import downstream_configs

pytest.importorskip("audiomentations")

EFFECTS = [{"name": "noise", "snr_db": [5, 20], "p": 0.9}, {"name": "time_stretch", "p": 0.5}]
SHORT = "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=2,,config.runner.log_step=2"


@pytest.fixture
def build(demo_manifest, tmp_path):
    demo_manifest.write(tmp_path / "manifest.jsonl")
    make_folds(demo_manifest, "strict").write(tmp_path / "folds.json")
    (tmp_path / "fold1").mkdir()

    def expert(seed: int = 1, **data: object) -> DownstreamExpert:
        config = yaml.safe_load(Path(downstream_configs()["emotion_mean"]).read_text())["downstream_expert"]
        given = {"manifest": "../manifest.jsonl", "folds": "../folds.json", "test_fold": "fold1"}
        config["datarc"] = {**config["datarc"], "train_batch_size": 4, "augmentation": EFFECTS, **given, **data}
        return DownstreamExpert(80, 160, config, str(tmp_path / "fold1"), seed=seed)

    return expert


def heard(expert: DownstreamExpert, split: str = "train", epoch: int = 0) -> dict[str, np.ndarray]:
    return {
        name: samples
        for waveforms, _, names in expert.get_dataloader(split, epoch=epoch)
        for samples, name in zip(waveforms, names, strict=True)
    }


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[bool]:
    return [len(one[name]) == len(other[name]) and bool((one[name] == other[name]).all()) for name in one]


class TestWhatIsHeard:
    def test_each_epoch_is_another_and_each_is_repeatable(self, build):
        expert = build()
        first, second = heard(expert, epoch=0), heard(expert, epoch=1)
        assert not any(same(first, second)) or np.mean(same(first, second)) < 0.3  # some are left as they are
        assert all(same(first, heard(build(), epoch=0)))
        assert np.mean(same(first, heard(build(seed=2), epoch=0))) < 0.3

    def test_workers_hear_the_same(self, build):
        assert all(same(heard(build(), epoch=3), heard(build(num_workers=2), epoch=3)))

    def test_dev_and_test_stay_as_they_are(self, build):
        for split in ("dev", "test"):
            assert all(same(heard(build(), split), heard(build(augmentation=[]), split)))

    def test_a_training_that_goes_on_hears_what_it_would_have_heard(self, build):
        whole = list(build().get_dataloader("train", epoch=2))
        resumed = build()
        state = build().get_extra_state()
        resumed.set_extra_state({**state, "epoch": 2, "used_batches": 3})
        rest = list(resumed.get_dataloader("train", epoch=2))
        assert [names for *_, names in rest] == [names for *_, names in whole[3:]]
        for (one, *_), (other, *_) in zip(rest, whole[3:], strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    def test_what_is_longer_is_cut_again(self, build):
        slow = [{"name": "time_stretch", "rate": 0.5, "p": 1}]
        found = heard(build(augmentation=slow, max_duration_s=0.3))
        assert {len(samples) for samples in found.values()} == {4800}


class TestConfiguration:
    def config(self, **data: object) -> dict[str, object]:
        config = yaml.safe_load(Path(downstream_configs()["emotion_mean"]).read_text())
        config["downstream_expert"]["datarc"] |= data
        return config

    def test_it_is_part_of_the_configuration_only_where_there_is_some(self):
        assert "augmentation" not in check_config(self.config(), "here")["downstream_expert"]["datarc"]
        assert (
            check_config(self.config(augmentation=EFFECTS), "here")["downstream_expert"]["datarc"]["augmentation"]
            == EFFECTS
        )

    def test_a_list_is_expected(self):
        with pytest.raises(ConfigError, match=r"datarc.augmentation: expected a list, found 'noise'"):
            check_config(self.config(augmentation="noise"), "here")

    def test_stored_states_and_changing_audio_exclude_each_other(self, build):
        with pytest.raises(ConfigError, match="augmentation changes the audio in every epoch"):
            build(cached="float16")


class TestARun:
    @pytest.fixture
    def argv(self, demo_root, tmp_path):
        options = json.dumps(EFFECTS).replace('"', "'")
        argv = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "demo", "--data", demo_root, "--fold", "1"]
        argv += ["--device", "cpu", "-o", f"{SHORT},,config.downstream_expert.datarc.augmentation={options}"]
        return [str(item) for item in [*argv, "-p", tmp_path / "run", "--cache-root", tmp_path / "cache"]]

    def test_nothing_is_stored_and_it_is_told(self, argv, tmp_path, capsys):
        assert main(argv) == 0
        assert not (tmp_path / "cache").exists()
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        assert about["cache"] is None
        assert about["config"]["downstream_expert"]["datarc"]["augmentation"] == EFFECTS
        assert "augmented while training (noise, time_stretch)" in about["settings"]["deviations"]

    def test_asking_for_both_is_refused(self, argv, capsys):
        assert main([*argv, "--cache"]) == 2
        assert "--cache with downstream_expert.datarc.augmentation" in capsys.readouterr().err

    def test_a_wrong_effect_is_named_before_anything_is_read(self, argv, capsys, tmp_path):
        wrong = [item.replace("'noise'", "'nose'") for item in argv]
        assert main(wrong) == 2
        told = "downstream_expert.datarc.augmentation[0]: unknown effect 'nose'. Did you mean 'noise'?"
        assert told in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
