"""S3PRL's modes and options through our launcher, its own expert among them, and what bad input is answered with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import soundfile
import torch

from s3prl_emotion.cli import main
from s3prl_emotion.runs.prediction import read_predictions
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint

FBANK = ("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1")


def test_evaluate_writes_beside_the_checkpoint_even_if_it_was_moved(run, tmp_path, capsys) -> None:
    assert run(*FBANK) == 0
    shutil.move(tmp_path / "run", tmp_path / "moved")
    capsys.readouterr()
    fold = tmp_path / "moved" / "fold1"
    assert main(["run", "-m", "evaluate", "-e", str(fold / "states-2.ckpt"), "-t", "dev", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    rows, labels = read_predictions(fold / "dev_predictions.csv")
    assert f"({len(rows)} utterances" in printed
    assert labels == ["neu", "hap", "ang", "sad"]
    assert not (tmp_path / "run").exists()


def test_evaluating_a_run_again_gives_the_same_numbers(run, tmp_path) -> None:
    assert run(*FBANK) == 0
    before = (tmp_path / "run" / "predictions.csv").read_text()
    assert run(*FBANK, "-m", "evaluate") == 0
    assert (tmp_path / "run" / "predictions.csv").read_text() == before
    assert main(["evaluate", str(tmp_path / "run")]) == 0


def test_resume_from_a_checkpoint_with_more_steps(run, tmp_path) -> None:
    assert run(*FBANK) == 0
    fold = tmp_path / "run" / "fold1"
    more = "config.runner.total_steps=8"
    assert main(["run", "-e", str(fold), "-o", more, "--device", "cpu"]) == 0
    assert load_checkpoint(fold / "states-8.ckpt")["Step"] == 8
    assert json.loads((fold / "fold.json").read_text())["step"] <= 8


def test_inference_on_any_audio_file(run, tmp_path, capsys) -> None:
    assert run(*FBANK) == 0
    audio = tmp_path / "stereo.flac"
    soundfile.write(audio, torch.rand(22050, 2).numpy() - 0.5, 22050)
    capsys.readouterr()
    checkpoint = tmp_path / "run" / "fold1" / "dev-best.ckpt"
    assert main(["run", "-m", "inference", "-e", str(checkpoint), "-t", str(audio), "--device", "cpu"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["file"] == "stereo"
    assert list(line["probabilities"]) == ["neu", "hap", "ang", "sad"]
    assert abs(sum(line["probabilities"].values()) - 1) < 1e-5
    assert line["predicted"] == max(line["probabilities"], key=line["probabilities"].get)
    assert main(["run", "-m", "inference", "-e", str(checkpoint), "-t", "nowhere.wav", "--device", "cpu"]) == 2
    assert "-t nowhere.wav: no such audio file" in capsys.readouterr().err


def test_fine_tuning_moves_the_upstream(run, tmp_path, tiny_hubert) -> None:
    options = ("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", "emotion_attn_pool", "--fold", "1")
    assert run(*options, "-f", "-s", "last_hidden_state") == 0
    states = [load_checkpoint(tmp_path / "run" / "fold1" / f"states-{step}.ckpt") for step in (2, 4)]
    moved = {
        name for name, value in states[0]["Upstream"].items() if not torch.equal(value, states[1]["Upstream"][name])
    }
    assert any("encoder.layers.0" in name for name in moved)
    assert any("encoder.layers.1" in name for name in moved)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert len(results["checkpoint_sha256"]) == 64


def test_a_frozen_upstream_stays_as_it_is(run, tmp_path, tiny_hubert) -> None:
    """One layer alone, S3PRL's -l: no layer weights to learn, and no upstream in the checkpoint."""
    assert run("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", "emotion_attn_corr", "--fold", "1", "-l", "1") == 0
    state = load_checkpoint(tmp_path / "run" / "fold1" / "states-4.ckpt")
    assert "Upstream" not in state
    assert not state["Featurizer"]


def test_s3prls_own_expert_runs_and_is_scored_like_ours(run, tmp_path, capsys) -> None:
    options = ("-u", "fbank_no_cmvn", "-d", "emotion", "--fold", "4", "--trim-zeros")
    assert run(*options, steps=4, more="config.runner.gradient_accumulate_steps=2") == 0
    rows, labels = read_predictions(tmp_path / "run" / "predictions.csv")
    assert len(rows) == 16
    assert {row.speaker for row in rows} == {"Ses04F", "Ses04M"}
    for row in rows:
        assert row.predicted == labels[max(range(4), key=lambda index: row.probabilities[index])]
    lines = (tmp_path / "run" / "fold4" / "test_fold4_predict.txt").read_text().splitlines()
    assert [line.split()[1] for line in lines] == [row.predicted for row in rows]
    assert run(*options, "--protocol", "strict", folder=tmp_path / "strict") == 2
    assert "it has protocol 'superb' only" in capsys.readouterr().err


def test_s3prls_own_expert_draws_the_split_that_we_call_superb(run, tmp_path, demo_root) -> None:
    """Its dev set, seen in the files it writes, is ours for the same fold."""
    from s3prl_emotion.protocols.split import Folds

    assert (
        run("-u", "fbank", "-d", "emotion", "--fold", "2", steps=2, more="config.runner.gradient_accumulate_steps=1")
        == 0
    )
    dev = [line.split()[0] for line in (tmp_path / "run" / "fold2" / "dev_fold2_truth.txt").read_text().splitlines()]
    folds = Folds.read(tmp_path / "run" / "folds.json")
    assert tuple(dev) == folds[2].dev


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-u", "fbank"), "-d is missing: which downstream?"),
        (("-d", "emotion_mean"), "-u is missing: which upstream?"),
        (
            ("-u", "fbank", "-d", "emotion_men"),
            "-d 'emotion_men' is not an emotion downstream. Did you mean",
        ),
        (
            ("-u", "fbnk", "-d", "emotion_mean"),
            "-u 'fbnk' is not an upstream of S3PRL, nor one of ours.",
        ),
        ((*FBANK, "--fold", "9"), "--fold 9: demo has folds 1, 2, 3, 4, 5"),
        ((*FBANK, "--fold", "two"), "--fold 'two': expected all, a number, or numbers with commas"),
        ((*FBANK, "-v", "fold0", "--fold", "all"), "test_fold must look like 'fold1', got 'fold0'"),
        ((*FBANK, "--protocol", "strikt"), "--protocol: unknown protocol 'strikt'. Did you mean 'strict'?"),
        ((*FBANK, "-i", "x.ckpt"), "-m evaluate -e CKPT"),
        ((*FBANK, "--local_rank", "0"), "--local_rank: distributed training is not supported"),
        ((*FBANK, "--push_to_hf_hub", "True"), "--push_to_hf_hub: S3PRL's upload uses"),
        ((*FBANK, "-n", "x"), "both name the run folder: give one"),
        ((*FBANK, "-v", "fold2"), "--fold 1 and -v fold2 name different test folds"),
        ((*FBANK, "-s", "nosuch"), "-s nosuch: the upstream gives last_hidden_state, hidden_states"),
        ((*FBANK, "-s", "nosuch", "--no-cache"), "-s nosuch: the upstream gives last_hidden_state, hidden_states"),
        ((*FBANK, "-l", "9"), "-l 9: with -s hidden_states the upstream has layers 0 to 0"),
        ((*FBANK, "-l", "9", "--no-cache"), "-l 9: with -s hidden_states the upstream has layers 0 to 0"),
        ((*FBANK, "--upstream_feature_normalize"), "acts on the weighted sum of several layers"),
        ((*FBANK, "--cache-limit", "much"), "--cache-limit 'much'"),
        ((*FBANK, "-m", "evaluate", "-t", "dev"), "-m evaluate -t dev needs -e CKPT"),
        ((*FBANK, "--device", "tpu"), "--device tpu: expected cpu, cuda or cuda:N"),
        ((*FBANK, "-c", "nowhere.yaml"), "nowhere.yaml: no such configuration file"),
        ((*FBANK, "--device", "cuda"), "--device cuda: torch"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(run, tmp_path, capsys, monkeypatch, options, message: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(*options) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("states-*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-e", "nowhere.ckpt"), "-e nowhere.ckpt: no such checkpoint"),
        (("-e", "nowhere.ckpt", "-m", "evaluate"), "-e nowhere.ckpt: no such checkpoint"),
        (("-m", "inference", "-t", "a.wav"), "-m inference needs -e CKPT"),
        (("-m", "inference", "-e", "a.ckpt"), "-m inference needs -t FILE"),
        (
            ("-m", "evaluate", "-e", "a.ckpt", "-u", "hubert", "--seed", "3"),
            "-u, --seed: with a checkpoint given by -e",
        ),
        (("-e", "a.ckpt", "-o", "config.optimizer.lr=1"), "-e goes on with the optimiser state of the checkpoint"),
    ],
)
def test_mistakes_with_checkpoints(capsys, options: tuple[str, ...], message: str) -> None:
    assert main(["run", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("args.downstream='emotion_corr'", "give downstream as an option of its own"),
        ("args.seed='abc'", "expected int, found 'abc'"),
        ("args.seed=-1", "a seed is 0 or more"),
        ("config.runner.total_steps.x=3", "config.total_steps is 4, it has no keys below"),
        ("config.downstream_expert.modelrc.pooling.name=a=b", "unknown pooling 'a=b'"),
        ("config.scheduler.name='nosuch'", "unknown scheduler 'nosuch'"),
        ("config.runner.fp16=True", "runner.fp16 needs a CUDA device"),
        ("config.optimizer.lr=__import__('os').getpid()", "Adam refuses these settings"),
    ],
)
def test_odd_overrides(run, tmp_path, capsys, more: str, message: str) -> None:
    assert run(*FBANK, more=more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_start_that_computed_nothing_leaves_the_folder_free(run, tmp_path, tiny_hubert, capsys) -> None:
    checkpoint = tmp_path / "hubert"
    shutil.copytree(tiny_hubert, checkpoint)
    (checkpoint / "preprocessor_config.json").rename(tmp_path / "preprocessor_config.json")
    options = ("-u", "hf_auto_custom", "-k", str(checkpoint), "-d", "emotion_mean", "--fold", "1")
    assert run(*options) == 2
    assert "preprocessor_config.json is missing, which says how waveforms are normalised" in capsys.readouterr().err
    (tmp_path / "preprocessor_config.json").rename(checkpoint / "preprocessor_config.json")
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert run(*options) == 2
    assert "the weights cannot be loaded" in capsys.readouterr().err
    weights.write_bytes(whole)
    assert run(*options) == 0


def test_an_upstream_that_cannot_be_downloaded(run, capsys, monkeypatch) -> None:
    import s3prl_emotion

    s3prl_emotion.register()
    from s3prl import hub

    def offline(**_: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(hub, "wavlm_large", offline)
    assert run("-u", "wavlm_large", "-d", "emotion_mean", "--fold", "1") == 2
    assert "-u wavlm_large: its files cannot be had: Name or service not known" in capsys.readouterr().err


def test_other_evaluations_leave_the_result_alone(run, tmp_path) -> None:
    assert run(*FBANK, steps=8) == 0
    folder = tmp_path / "run"
    before = (folder / "results.json").read_text()
    assert main(["run", "-m", "evaluate", "-e", str(folder / "fold1" / "states-6.ckpt"), "--device", "cpu"]) == 0
    assert run(*FBANK, steps=8) == 0
    assert (folder / "results.json").read_text() == before
    official = folder / "fold1" / "predictions.csv"
    official.write_text(official.read_text().replace("1,Ses01", "1,Ses02", 1))
    assert run(*FBANK, steps=8) == 2


def test_a_fold_that_went_on_with_other_settings_says_so(run, tmp_path) -> None:
    assert run(*FBANK) == 0
    fold = tmp_path / "run" / "fold1"
    assert main(["run", "-e", str(fold), "-o", "config.runner.total_steps=6", "--device", "cpu"]) == 0
    settings = json.loads((tmp_path / "run" / "results.json").read_text())["settings"]
    assert "fold 1: runner.total_steps was 4 and is 6" in settings["deviations"]


def test_a_part_of_iemocap_is_not_called_comparable(run, tmp_path, demo_root, capsys) -> None:
    """The demo corpus has IEMOCAP's layout, so IEMOCAP's reader reads it; its number is not IEMOCAP's."""
    assert run("-u", "fbank", "-d", "emotion_mean_std", "--corpus", "iemocap", steps=2) == 0
    printed = capsys.readouterr().out
    assert "comparable (WA): same corpus" not in printed
    flat = " ".join(printed.split())
    assert "not comparable: 2 steps; runner.eval_step 1000 -> 2; optimizer.lr 0.0001 -> 0.001; not the complete" in flat
    assert "not the complete iemocap corpus: 80 utterances, expected 5531" in flat


def test_short_audio_for_inference(run, tmp_path, capsys) -> None:
    assert run(*FBANK) == 0
    soundfile.write(tmp_path / "short.wav", torch.zeros(160).numpy(), 16000)
    checkpoint = tmp_path / "run" / "fold1" / "dev-best.ckpt"
    options = ["-m", "inference", "-e", str(checkpoint), "-t", str(tmp_path / "short.wav"), "--device", "cpu"]
    assert main(["run", *options]) == 2
    assert "short.wav: 160 samples at 16 kHz; at least 400" in capsys.readouterr().err


def test_wrong_keys_in_the_configuration_and_on_the_command_line(run, capsys) -> None:
    assert run(*FBANK, more="config.downstream_expert.modelrc.pooling.head=4") == 2
    assert "unknown option 'head' of pooling 'mean_std'" in capsys.readouterr().err
    assert run(*FBANK, more="config.runner.evalstep=4") == 2
    said = capsys.readouterr().err
    assert "-o on " in said
    assert "emotion_mean_std.yaml: runner: unknown key 'evalstep'. Did you mean 'eval_step'" in said
    assert run(*FBANK, more="config.downstream_expert.datarc.root='/data'") == 2
    assert "use --corpus and --data instead" in capsys.readouterr().err


def test_a_corpus_must_be_named(capsys) -> None:
    assert main(["run", "-u", "fbank", "-d", "emotion_mean", "-p", "nowhere"]) == 2
    assert "--corpus iemocap: where is it? Give its folder with --data DIR" in capsys.readouterr().err
    assert not Path("nowhere").exists()


def test_bad_audio_is_named_and_can_be_left_out(run, tmp_path, demo_root, capsys) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(demo_root, broken)
    wavs = sorted(broken.rglob("*.wav"))
    wavs[0].write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    wavs[1].unlink()
    wavs[2].write_bytes(wavs[2].read_bytes()[:2000])
    soundfile.write(wavs[3], torch.zeros(100).numpy(), 16000)
    options = (*FBANK, "--data", str(broken))
    assert run(*options) == 2
    message = capsys.readouterr().err
    for wav, words in zip(wavs, ("git lfs pull", "no such audio file", "cut off", "at least 400"), strict=False):
        assert any(wav.name in line and words in line for line in message.splitlines()), words
    assert "--skip-bad" in message
    assert run(*options, "--skip-bad") == 0
    assert "going on without 4 of 80 utterances" in capsys.readouterr().err
    assert len((tmp_path / "run" / "manifest.jsonl").read_text().splitlines()) == 77


def test_prepare_and_ls(tmp_path, demo_root, capsys) -> None:
    assert (
        main(["prepare", "--corpus", "demo", "--data", str(demo_root), "--protocol", "strict", "--out", str(tmp_path)])
        == 0
    )
    assert "fold 1: train 48, dev 16, test 16" in capsys.readouterr().out
    for kind, name in (
        ("downstreams", "emotion_attn_corr"),
        ("upstreams", "wavlm_large"),
        ("corpora", "iemocap"),
        ("protocols", "strict"),
        ("poolings", "attentive_correlation"),
    ):
        assert main(["ls", kind]) == 0
        lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
        assert lines[name], name
    assert main(["ls", "shims"]) == 0
