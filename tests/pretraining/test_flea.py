"""The whole chain on the demo: every stage, the table, what may be mixed with what, and that nothing is done twice."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from faults.processes import end, start
from safetensors.torch import load_file

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.pretraining.flea import stages
from s3prl_emotion.protocols.split import Folds

pytestmark = pytest.mark.slow

QUICK = (
    "tapt.training.steps=6,,cpt.training.steps=6,,tapt.training.eval_every=3,,cpt.training.eval_every=3,,"
    "finetune.config.runner.total_steps=4,,evaluate.config.runner.total_steps=4,,"
    "finetune.config.runner.eval_step=2,,evaluate.config.runner.eval_step=2"
)


def flea(folder: Path, *options: str, override: str = QUICK) -> int:
    return main(
        [
            *("pretrain", "flea", "--demo", "--device", "cpu", "-p", str(folder / "run")),
            *("--cache-root", str(folder / "cache"), "-o", override, *options),
        ]
    )


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over folds 1 and 2. Do not write into it."""
    folder = tmp_path_factory.mktemp("flea")
    assert flea(folder) == 0
    return folder / "run"


def _times(folder: Path) -> dict[str, int]:
    """When files were written, but for what every command writes anew."""
    again = (
        "recipe.json",
        "result.json",
        "table.txt",
        "results.json",
        "predictions.csv",
        "audit.json",
        "run.json",
        "grid.csv",
    )
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name not in again and not path.name.startswith(".")
    }


def test_every_stage_leaves_its_record(done: Path) -> None:
    for fold in ("fold1", "fold2"):
        for stage in ("tapt", "finetune", "cluster", "cpt"):
            record = json.loads((done / fold / stage / "stage.json").read_text())
            assert (record["recipe"], record["stage"], record["fold"]) == ("flea", stage, int(fold[-1]))
            assert all(len(value) == 64 for value in record["inputs"].values())
        clusters = json.loads((done / fold / "cluster" / "labels" / "clusters.json").read_text())
        assert set(clusters["ami"]) == {"emotion", "speaker", "sentence"}
        assert clusters["sizes"]["used"] <= 10
        assert (done / fold / "cpt" / "history.jsonl").is_file()
        assert not (done / fold / "cpt" / "checkpoint.pt").exists()
    table = (done / "table.txt").read_text()
    for text in ("inductive: no stage heard test audio", "minus its base", "the base under the same head"):
        assert text in table
    for name in ("base", "after TAPT", "after CPT"):
        assert f"mean_pool, {name} " in table
        assert f"attn_pool, {name} " in table
    assert "CPT-HuBERT UA 75.70 %, WA 74.70 %, arXiv 2312.16383" in table
    assert "not comparable with" in table


def test_each_head_is_compared_with_its_own_base(done: Path) -> None:
    """A difference is of pretraining alone; Holm's adjustment is over the four of the table."""
    result = json.loads((done / "result.json").read_text())
    adjusted, raw = [], []
    for head, comparison in result["comparisons"].items():
        (block,) = comparison["blocks"]
        figures = {Path(system["source"][0]).name: system for system in block["systems"]}
        assert set(figures) == {f"{upstream}-{head}" for upstream in ("base", "tapt", "cpt")}
        assert block["baseline"] == figures[f"base-{head}"]["key"]
        base = figures[f"base-{head}"]["figures"]["ua"]["mean"]
        keys = {system["key"]: system["figures"]["ua"]["mean"] for system in figures.values()}
        for item in block["differences"]:
            assert item["ua"]["difference"] == pytest.approx(keys[item["key"]] - base)
            adjusted.append(item["ua"]["p_holm"])
            raw.append(item["ua"]["p_bootstrap"])
    assert len(raw) == 4
    assert min(adjusted) == pytest.approx(min(1.0, 4 * min(raw)))


def test_fine_tuning_is_the_released_one(done: Path) -> None:
    """Its settings stand in the records of the runs, and the convolutions of every fine-tuned model are the base's."""
    base = load_file(done / "tiny-hubert" / "model.safetensors")
    for run in ("base-emotion_mean_pool", "tapt-emotion_attn_pool", "cpt-emotion_attn_pool"):
        tuning = json.loads((done / "runs" / run / "run.json").read_text())["config"]["finetune"]
        assert (tuning["mask_time_prob"], tuning["mask_time_length"], tuning["layerdrop"]) == (0.08, 10, 0.1)
        assert tuning["freeze_feature_encoder"] is True
    tuned = load_file(done / "fold1" / "finetune" / "model" / "model.safetensors")
    frozen = [key for key in base if key.startswith("feature_extractor.")]
    assert frozen
    assert all(tuned[key].equal(base[key]) for key in frozen)
    assert not tuned["encoder.layers.0.attention.k_proj.weight"].equal(base["encoder.layers.0.attention.k_proj.weight"])


def test_the_released_score_stands_apart(done: Path) -> None:
    result = json.loads((done / "result.json").read_text())
    score = result["released_score"]["cpt-emotion_attn_pool"]
    expected = []
    for fold in (1, 2):
        dev = json.loads((done / "runs" / "cpt-emotion_attn_pool" / f"fold{fold}" / "fold.json").read_text())[
            "dev_score"
        ]
        run = json.loads((done / "runs" / "cpt-emotion_attn_pool" / "results.json").read_text())
        expected.append((dev + next(item["wa"] for item in run["folds"] if item["fold"] == fold)) / 2)
    assert score["mean"] == pytest.approx(sum(expected) / 2)
    assert score["metric"] == "wa", "superb selects by accuracy"
    assert "released" not in (done / "table.txt").read_text().replace("the released script", "")


def test_no_stage_heard_what_its_fold_tests_on(done: Path) -> None:
    folds = Folds.read(done / "folds.json")
    for fold in (1, 2):
        for name in ("tapt", "cpt"):
            heard = Manifest.read(done / "upstreams" / name / f"fold{fold}" / "pretraining.jsonl")
            assert not {item.id for item in heard.utterances} & set(folds[fold].test)
            assert {item.id for item in heard.utterances} == {*folds[fold].train, *folds[fold].dev}
        labels = json.loads((done / f"fold{fold}" / "cluster" / "labels" / "labels.json").read_text())
        assert not {name for name, _ in labels["utterances"]} & set(folds[fold].test)


def test_the_exported_model_is_a_hubert_with_its_mask_embedding(done: Path) -> None:
    from transformers import HubertModel

    folder = done / "upstreams" / "cpt" / "fold1"
    model = HubertModel.from_pretrained(folder)
    weights, base = load_file(folder / "model.safetensors"), load_file(done / "tiny-hubert" / "model.safetensors")
    assert "masked_spec_embed" in weights
    assert model.config.layerdrop == HubertModel.from_pretrained(done / "tiny-hubert").config.layerdrop
    name = "encoder.layers.0.attention.k_proj.weight"
    assert not weights[name].equal(base[name]), "trained"
    frozen = [key for key in weights if key.startswith("feature_extractor.")]
    assert frozen
    assert all(weights[key].equal(base[key]) for key in frozen), "frozen"
    record = json.loads((folder / "pretraining.json").read_text())
    assert [item["stage"] for item in record["lineage"]] == ["tapt", "finetune", "cluster", "cpt"]
    card = (folder / "README.md").read_text()
    assert record["base"]["sha256"] in card
    assert "It did not hear what this fold tests on" in card


def test_the_same_command_does_nothing_again(done: Path, tmp_path: Path) -> None:
    before = _times(done)
    assert flea(done.parent) == 0
    after = _times(done)
    assert {name for name in before if after[name] != before[name]} == set()
    assert set(after) == set(before)


def test_other_settings_are_refused(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flea(done.parent, override=f"{QUICK},,cpt.training.optimiser.lr=1e-4") == 2
    assert (
        "cpt holds stage cpt with other settings or inputs: settings.training.optimiser.lr was"
        in capsys.readouterr().err
    )
    assert flea(done.parent, "--seed", "3") == 2
    assert "holds pretraining with other settings: seed was 1337 and is 3" in capsys.readouterr().err


def _run(done: Path, checkpoint: Path, *options: str) -> int:
    return main(
        [
            *("run", "-u", "cpt_hubert", "-k", str(checkpoint), "-d", "emotion_mean_std", "--corpus", "demo"),
            *("--data", str(done / "corpus"), "--device", "cpu", "--cache-root", str(done.parent / "cache")),
            *("-o", "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=1", *options),
        ]
    )


def test_the_fold_that_is_tested_picks_its_model(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frozen, through the store: each fold has another model's states, and the checkpoint knows which."""
    upstream = Path(shutil.copytree(done / "upstreams" / "cpt", tmp_path / "cpt"))
    assert _run(done, upstream, "--fold", "1,2", "-p", "run") == 0
    stored = [json.loads((tmp_path / "run" / f"fold{fold}" / "upstream.json").read_text()) for fold in (1, 2)]
    assert [item["sha256"] for item in stored] == [checkpoint_sha256(str(upstream / f"fold{fold}")) for fold in (1, 2)]
    assert stored[0]["sha256"] != stored[1]["sha256"]
    assert _run(done, upstream, "--fold", "3", "-p", "third") == 2
    assert f"{upstream}: holds no model for fold 3, which is missing (folds there: 1, 2)" in capsys.readouterr().err
    best = str(tmp_path / "run" / "fold1" / "dev-best.ckpt")
    assert main(["run", "-m", "evaluate", "-e", best, "--device", "cpu"]) == 0
    audio = next((done / "corpus").rglob("*.wav"))
    assert main(["predict", "--run", str(tmp_path / "run"), str(audio), "--device", "cpu", "--fold", "2"]) == 0
    shutil.rmtree(upstream / "fold1")
    shutil.copytree(upstream / "fold2", upstream / "fold1")
    capsys.readouterr()
    assert main(["run", "-m", "evaluate", "-e", best, "--device", "cpu"]) == 2
    assert "fold1 was trained on" in capsys.readouterr().err


def test_a_model_that_heard_test_audio_is_refused(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One fold's model for another fold; and its labels make even the transductive protocol refuse it."""
    fold1 = done / "upstreams" / "cpt" / "fold1"
    assert _run(done, fold1, "--fold", "1", "-p", "own") == 2, "the audit looks at every fold of the division"
    message = capsys.readouterr().err
    assert "the division leaks" in message
    assert "fold 2: pretraining: " in message
    assert "fold 1: pretraining" not in message
    assert _run(done, fold1, "--protocol", "superb-transductive", "-p", "other") == 2
    assert "pretraining labels" in (message := capsys.readouterr().err)
    assert "take the model that was made for the fold that is tested" in message
    swapped = Path(shutil.copytree(done / "upstreams" / "cpt", tmp_path / "swapped"))
    (swapped / "fold2").rename(swapped / "x")
    (swapped / "fold1").rename(swapped / "fold2")
    (swapped / "x").rename(swapped / "fold1")
    assert _run(done, swapped, "--fold", "1,2", "-p", "mixed") == 2
    assert "fold 1: pretraining: " in capsys.readouterr().err


def test_stages_are_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = ("--fold", "1")
    assert flea(tmp_path, *one, "--stage", "cpt") == 2
    assert "error: cpt, fold 1: stage tapt is not finished: run it first (--stage tapt)" in capsys.readouterr().err
    for stage in ("tapt", "finetune", "cluster", "cpt", "export"):
        assert flea(tmp_path, *one, "--stage", stage) == 0, capsys.readouterr().err
    assert (tmp_path / "run" / "upstreams" / "cpt" / "fold1" / "model.safetensors").is_file()
    assert not (tmp_path / "run" / "table.txt").exists()


def test_the_papers_way_is_transductive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One TAPT for all folds, which heard everything; the protocol says so, and strict refuses it."""
    assert flea(tmp_path, "--fold", "1", "--no-inductive") == 2
    assert "protocol superb does not allow pretraining to hear test audio" in capsys.readouterr().err
    assert flea(tmp_path, "--fold", "1", "--protocol", "superb-transductive") == 0
    run = tmp_path / "run"
    assert (run / "tapt" / "stage.json").is_file()
    heard = Manifest.read(run / "upstreams" / "cpt" / "fold1" / "pretraining.jsonl")
    assert len(heard.utterances) == len(Manifest.read(run / "manifest.jsonl").utterances)
    assert "transductive: test audio was heard" in (run / "table.txt").read_text()
    assert _run(run, run / "upstreams" / "cpt", "--fold", "1", "-p", "strict") == 2
    assert "fold 1: pretraining: " in capsys.readouterr().err


def _cell(row: Mapping[str, str]) -> str:
    return f"grid/layer{row['layer']}-clusters{row['clusters']}"


def test_a_grid_shares_what_comes_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = ("--fold", "1", "--grid", "layers=1-2", "clusters=4,6")
    assert flea(tmp_path, *cells) == 0
    run = tmp_path / "run"
    rows = list(csv.DictReader((run / "grid.csv").open()))
    assert [(row["layer"], row["clusters"]) for row in rows] == [("1", "4"), ("1", "6"), ("2", "4"), ("2", "6")]
    assert all(0 <= float(row["ua"]) <= 1 and float(row["inertia"]) > 0 for row in rows)
    printed = capsys.readouterr().out
    assert "layer 2, K = 6" in printed
    for row in rows:
        record = json.loads((run / _cell(row) / "run" / "fold1" / "fold.json").read_text())
        assert float(row["dev"]) == pytest.approx(record["dev_score"])
        assert row["dev_metric"] == "wa", "the protocol chooses so"
    chosen = max(rows, key=lambda row: float(row["dev"]))
    assert f"layer {chosen['layer']}, K = {chosen['clusters']}, UA {100 * float(chosen['ua']):.2f}" in " ".join(
        printed.split()
    )
    stores = [path.name for path in (tmp_path / "cache").glob("*frames*")]
    assert len(stores) == 2, "one of the base for stage 1, one of all layers for all cells"
    before = _times(run)
    assert flea(tmp_path, *cells) == 0
    assert _times(run) == before


def _noting(notes: Path) -> None:
    """Let every training say in a file that it happens."""
    train = stages.train

    def noted(*given: Any) -> Any:
        with notes.open("a") as file:
            file.write(f"{given[5].parent.parent.name} {given[7]}\n")
        return train(*given)

    stages.train = noted


def _together(commands: Sequence[list[str]], logs: Path) -> tuple[list[int], list[str], list[str]]:
    """Exit statuses, outputs, and trainings of commands that run at the same time."""
    logs.mkdir(exist_ok=True)
    notes = logs / "trainings"
    places = [logs / f"log{number}" for number in range(len(commands))]
    children = [start(argv, place, lambda: _noting(notes)) for argv, place in zip(commands, places, strict=True)]
    statuses = [end(child) for child in children]
    return statuses, [place.read_text() for place in places], sorted(notes.read_text().splitlines())


def _command(folder: Path, *options: str) -> list[str]:
    argv = ["pretrain", "flea", "--demo", "--device", "cpu", "-p", str(folder / "run")]
    return [*argv, "--cache-root", str(folder / "cache"), "-o", QUICK, *options]


def test_processes_share_a_grid(tmp_path: Path) -> None:
    """Three at once, with the same command: each cell is worked out once, and figures are those of one process."""
    grid = ("--fold", "1", "--grid", "layers=1-2", "clusters=4,6")
    statuses, said, trainings = _together([_command(tmp_path / "many", *grid)] * 3, tmp_path / "logs")
    assert statuses == [0, 0, 0], [text[-2000:] for text in said]
    cells = [f"layer{layer}-clusters{count} cpt, fold 1" for layer in (1, 2) for count in (4, 6)]
    assert trainings == sorted([*cells, "run tapt, fold 1"])
    assert main(_command(tmp_path / "one", *grid)) == 0
    assert main(_command(tmp_path / "many", *grid)) == 0
    assert (tmp_path / "many/run/grid.csv").read_text() == (tmp_path / "one/run/grid.csv").read_text()


def test_processes_share_folds(done: Path, tmp_path: Path) -> None:
    """A fold each at the same time, then one command for the table: nothing is done twice, figures are one run's."""
    for stage in ("tapt", "finetune", "cluster", "cpt", "export"):
        folds = [_command(tmp_path, "--fold", number, "--stage", stage) for number in "12"]
        statuses, said, _ = _together(folds, tmp_path / "logs")
        assert statuses == [0, 0], [text[-2000:] for text in said]
    trainings = sorted((tmp_path / "logs/trainings").read_text().splitlines())
    assert trainings == [f"run {stage}, fold {number}" for stage in ("cpt", "tapt") for number in (1, 2)]
    assert main(_command(tmp_path)) == 0
    assert (tmp_path / "run/table.txt").read_text() == (done / "table.txt").read_text()


def test_bad_bases(tmp_path: Path, tiny_hubert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.upstream_patches.tiny import make

    wavlm = make("wavlm", tmp_path)
    for base, message in (
        (str(wavlm), "expected a HuBERT, found a model of type 'wavlm'; FLEA trains HuBERT only"),
        ("fbank", "-u fbank: expected a HuBERT in transformers format"),
        ("./nowhere/x", "no such file or folder"),
    ):
        assert flea(tmp_path, "-u", base) == 2
        assert message in capsys.readouterr().err
    assert flea(tmp_path, "-u", str(tiny_hubert), override=f"{QUICK},,tapt.layer=3") == 2
    assert "tapt.layer: 3: " in (message := capsys.readouterr().err)
    assert "so layers are 1 to 2" in message
    assert flea(tmp_path / "k", "-u", str(tiny_hubert), override=f"{QUICK},,tapt.kmeans=nothing.bin") == 2
    assert "nothing.bin: no such file or folder" in capsys.readouterr().err


def test_the_command_of_the_guide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands there: where everything goes by itself, and the store beside it."""
    text = (Path(__file__).parents[2] / "docs/guides/pretraining.md").read_text(encoding="utf-8")
    assert "\ns3prl-emotion pretrain flea --demo\n" in text
    assert main(["pretrain", "flea", "--demo"]) == 0
    printed = capsys.readouterr().out
    assert "FLEA on demo, protocol superb, inductive" in printed
    assert "folder: result/pretraining/flea/tiny-hubert/demo-superb" in printed
