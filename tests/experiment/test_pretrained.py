"""Runs that start from a pretrained head, and the second task of who speaks."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s3prl_emotion import load
from s3prl_emotion.cli import main
from s3prl_emotion.downstream.pretrained import (
    FORMAT,
    LAYERS,
    VERSION,
    HeadUpstream,
    PretrainedHead,
    check_features,
    read_weights,
    write_head,
)
from s3prl_emotion.errors import ConfigError, EmotionError, ProtocolError, RunError, UpstreamError
from s3prl_emotion.experiment import Request
from s3prl_emotion.experiment.checkpoint import evaluate_checkpoint
from s3prl_emotion.experiment.request import resolve_request
from s3prl_emotion.experiment.run import run
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.s3prl_runner.building import build
from s3prl_emotion.s3prl_runner.cache import CacheOptions, fingerprint
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from s3prl_emotion.s3prl_runner.registration import register
from s3prl_emotion.upstreams.resolution import resolve
from tests.conftest import SHORT

FRAMES = 240
FROZEN = "config.downstream_expert.modelrc.pretrained.frozen=True,,"
SMALL = "config.downstream_expert.modelrc.projector_dim=6,,"


def make_head(folder: Path, name: str = "fbank_no_cmvn", weights: str | None = None, **changes: Any) -> Path:
    """A pretrained head of width 6 with mean pooling, of known random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {"layers": 1, "width": FRAMES, "projector_dim": 6, "pooling": {"name": "mean"}, **changes}
    about = PretrainedHead(FORMAT, VERSION, upstream=HeadUpstream(name, weights or _nothing()), **given)
    draw = torch.Generator().manual_seed(1)
    shape = (given["projector_dim"], given["width"])
    tensors = {
        "projector.weight": 0.1 * torch.randn(shape, generator=draw),
        "projector.bias": torch.randn(given["projector_dim"], generator=draw),
    }
    if given["layers"] > 1:
        tensors[LAYERS] = torch.randn(given["layers"], generator=draw)
    write_head(folder, about, tensors)
    record = {"recipe": "contrastive", "stage": "pretrain", "speech": ["toy"], "lineage": [{"stage": "pretrain"}]}
    (folder / "pretraining.json").write_text(json.dumps(record))
    return folder


def _nothing() -> str:
    return fingerprint(nn.Identity())


def per_fold(folder: Path, *folds: int) -> Path:
    for fold in folds:
        make_head(folder / f"fold{fold}")
    (folder / "pretraining.json").write_text(json.dumps({"recipe": "contrastive", "per_fold": True}))
    return folder


@pytest.fixture
def request_for(tmp_path: Path, demo_root: Path, cache_root: Path) -> Callable[..., Request]:
    def make(
        downstream: str = "emotion_contrastive", steps: int = 2, override: str = "", place: str = "run", **given: Any
    ) -> Request:
        s3prl = {
            "upstream": "fbank_no_cmvn",
            "device": "cpu",
            "downstream": downstream,
            "expdir": str(tmp_path / place),
            "override": SMALL + override + SHORT.format(steps=steps, every=min(steps, 2)),
            **given.pop("s3prl", {}),
        }
        options = CacheOptions(cache_root)
        return Request(s3prl, "demo", demo_root, folds=(1,), cache_options=options, **given)

    return make


Requests = Callable[..., Request]


def trained(folder: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    content = load_checkpoint(folder / "fold1" / f"states-{step}.ckpt")
    return content["Downstream"], content


def test_frozen_weights_are_the_pretrained_ones(tmp_path: Path, request_for: Requests) -> None:
    """The classifier alone learns; everything is written down; -e, predict and export go on without the folder."""
    head = make_head(tmp_path / "head")
    folder, results = run(
        request_for(override="config.downstream_expert.modelrc.pretrained.frozen=True,,", pretrained=head)
    )
    state, _ = trained(folder, 2)
    weights = read_weights(head)
    for name in ("projector.weight", "projector.bias"):
        assert torch.equal(state[f"head.{name}"], weights[name]), name
    about = RunFolder(folder).about()
    digest = about["config"]["downstream_expert"]["modelrc"]["pretrained"]["sha256"]
    assert about["settings"]["pretrained"]["sha256"] == digest
    assert results.settings is not None
    assert results.settings.further["pretrained"]["recipe"] == "contrastive"
    assert any(f"pretrained head {digest[:12]}" in text for text in results.deviations)
    record = json.loads((folder / "fold1" / "fold.json").read_text())
    assert record["pretrained"]["sha256"] == digest
    assert record["pretrained"]["lineage"] == [{"stage": "pretrain"}]

    shutil.rmtree(head)
    before = (folder / "fold1" / "predictions.csv").read_bytes()
    assert evaluate_checkpoint(folder / "fold1", "test", "cpu").read_bytes() == before
    recogniser = load(folder, device="cpu")
    exported = recogniser.export(tmp_path / "export")
    card = (exported / "README.md").read_text()
    assert f"a pretrained head (SHA-256 `{digest}`, recipe contrastive, on `toy`) and stayed as they were" in card
    wave = 0.1 * torch.randn(16000).numpy()
    assert load(exported, device="cpu").predict(wave)[0].probabilities == recogniser.predict(wave)[0].probabilities


def test_trained_on_weights_start_there(tmp_path: Path, request_for: Requests) -> None:
    """With a rate of nearly nothing they are where they started; the classifier's start is that of any run."""
    head = make_head(tmp_path / "head")
    tiny = "config.optimizer.lr=1e-12"
    request = request_for("emotion_mean", pretrained=head)
    slow = {**request.s3prl, "override": f"{request.s3prl['override']},,{tiny}"}
    request = dataclasses.replace(request, s3prl=slow)
    folder, _ = run(request)
    state, content = trained(folder, 2)
    torch.testing.assert_close(state["head.projector.weight"], read_weights(head)["projector.weight"])
    assert not content["Config"]["downstream_expert"]["modelrc"]["pretrained"]["frozen"]
    scratch = request_for("emotion_mean", place="scratch")
    scratch = dataclasses.replace(scratch, s3prl={**scratch.s3prl, "override": slow["override"]})
    plain, _ = trained(run(scratch)[0], 2)
    torch.testing.assert_close(state["head.classifier.weight"], plain["head.classifier.weight"])
    assert not torch.allclose(state["head.projector.weight"], plain["head.projector.weight"])


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, request_for: Requests) -> None:
    """With a second task too; the head is not read a second time."""
    task = "config.downstream_expert.modelrc.auxiliary={'speaker_weight': 0.5, 'reverse': True},,"
    head = make_head(tmp_path / "head")
    whole, _ = run(request_for(steps=6, override=task, pretrained=head, place="whole"))
    request = request_for(steps=6, override=task, pretrained=head)
    folder, _ = run(request)
    for path in (folder / "fold1").glob("states-[46].ckpt"):
        path.unlink()
    shutil.copy(whole / "fold1" / "states-4.ckpt", folder / "fold1")
    for name in ("fold.json", "predictions.csv"):
        (folder / "fold1" / name).unlink()
    run(request)
    one, two = (trained(place, 6)[0] for place in (whole, folder))
    assert all(torch.equal(one[name], two[name]) for name in one if name != "_extra_state")
    assert any(name.startswith("auxiliary.") for name in one)


def test_layer_weights_go_into_the_featurizer(
    tmp_path: Path, request_for: Requests, tiny_hubert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into ours over stored states, and into S3PRL's own with -f; frozen they stay."""
    register()
    monkeypatch.chdir(tmp_path)
    given = {"upstream": "hf_auto_custom", "upstream_ckpt": str(tiny_hubert)}
    own = fingerprint(build(resolve(given["upstream"], given["upstream_ckpt"], None), "cpu"))
    head = make_head(tmp_path / "head", given["upstream"], own, layers=3, width=16)
    for place, more in (("stored", {}), ("tuned", {"upstream_trainable": True})):
        folder, _ = run(request_for(override=FROZEN, pretrained=head, place=place, s3prl={**given, **more}))
        _, content = trained(folder, 2)
        assert torch.equal(content["Featurizer"]["weights"], read_weights(head)[LAYERS]), place


def test_each_fold_has_its_head(tmp_path: Path, request_for: Requests) -> None:
    head = per_fold(tmp_path / "head", 1)
    folder, _ = run(request_for(pretrained=head))
    kept = json.loads((folder / "fold1" / "pretrained.json").read_text())
    assert kept["folder"] == str(head / "fold1")
    with pytest.raises(UpstreamError, match=r"head: holds no model for fold 2, which is missing \(folds there: 1\)"):
        run(dataclasses.replace(request_for(pretrained=head, place="two"), folds=(2,)))
    (folder / "fold1" / "fold.json").unlink()
    (head / "fold1" / "more.txt").write_text("added")
    with pytest.raises(RunError, match=r"was started from .*: another head, or one with files added"):
        run(request_for(pretrained=head))


def other_upstream(tmp_path: Path) -> Path:
    return make_head(tmp_path / "head", "hubert", "1" * 32)


def other_name(tmp_path: Path) -> Path:
    return make_head(tmp_path / "head", "mel")


def other_pooling(tmp_path: Path) -> Path:
    return make_head(tmp_path / "head", pooling={"name": "mean_std"})


def other_shape(tmp_path: Path) -> Path:
    head = make_head(tmp_path / "head")
    weights = read_weights(head)
    weights["projector.bias"] = torch.zeros(7)
    weights["pooling.queries.weight"] = torch.zeros(2, 2)
    from safetensors.torch import save_file

    save_file(weights, head / "head.safetensors")
    return head


def no_weights(tmp_path: Path) -> Path:
    head = make_head(tmp_path / "head")
    (head / "head.safetensors").write_bytes(b"torn")
    return head


def empty_folder(tmp_path: Path) -> Path:
    return tmp_path


REFUSED = [
    (other_upstream, r"-u fbank_no_cmvn without weights is not the upstream that .*: hubert with weights 1{32}"),
    (other_name, r"-u fbank_no_cmvn without weights .* was pretrained on: mel without weights"),
    (other_pooling, r"-d emotion_contrastive: modelrc.pooling is 'mean', the head in .* with 'mean_std'"),
    (other_shape, r"head.safetensors: projector.bias has shape \(7,\), the head of this run shape \(6,\)"),
    (no_weights, r"head.safetensors: cannot be read"),
    (empty_folder, r"no pretrained head: head.json is missing. Name one that"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[make.__name__ for make, _ in REFUSED])
def test_what_does_not_fit_is_refused(
    tmp_path: Path, request_for: Requests, make: Callable[[Path], Path], message: str
) -> None:
    """Both sides are named, before anything is trained; many more rows are in tests/faults/test_pretrained.py."""
    with pytest.raises(EmotionError, match=message):
        run(request_for(pretrained=make(tmp_path)))
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selection": "last_hidden_state"}, "-s is last_hidden_state, the head in head was pretrained with hidden"),
        ({"layer": 3}, "-l is 3, the head in head was pretrained with None"),
        ({"normalize": True}, "--upstream_feature_normalize is True, the head in head was pretrained with False"),
    ],
)
def test_other_features_are_refused(changes: dict[str, Any], message: str) -> None:
    own = HeadUpstream("hubert", "1" * 32)
    about = PretrainedHead(FORMAT, VERSION, 3, 8, 6, {"name": "mean"}, own)
    check_features(about, own, 3, 8, Path("head"))
    with pytest.raises(RunError, match=message):
        check_features(about, dataclasses.replace(own, **changes), 3, 8, Path("head"))


def test_the_head_alone_makes_a_run_deviate(tmp_path: Path) -> None:
    """Of what ships with emotion_contrastive nothing else is another."""
    head = make_head(tmp_path / "head", projector_dim=256)
    s3prl = {"upstream": "fbank_no_cmvn", "downstream": "emotion_contrastive", "device": "cpu"}
    plan = resolve_request(Request(s3prl=s3prl, corpus="demo", pretrained=head))
    (told,) = plan.remarks.deviations
    assert told == f"started from the pretrained head {plan.remarks.pretrained['sha256'][:12]}"


def test_what_is_named_and_what_is_not(tmp_path: Path, request_for: Requests) -> None:
    with pytest.raises(ConfigError, match=r"-d emotion_contrastive starts from a pretrained head.*--pretrained FOLDER"):
        run(request_for())
    head = make_head(tmp_path / "head")
    stock = request_for("emotion", pretrained=head)
    stock = dataclasses.replace(stock, s3prl={**stock.s3prl, "override": None})
    with pytest.raises(ConfigError, match=r"-d emotion is S3PRL's own expert, which starts from random weights only"):
        run(stock)
    place = "config.downstream_expert.datarc.pretrained=head,,"
    with pytest.raises(ConfigError, match=r"datarc.pretrained is set by the launcher"):
        run(request_for(override=place, pretrained=head))
    other = "config.downstream_expert.modelrc.pretrained.sha256=abc,,"
    with pytest.raises(RunError, match=r"its SHA-256 is \w+, modelrc.pretrained.sha256 is abc"):
        run(request_for(override=other, pretrained=head))


def test_another_head_is_another_run(tmp_path: Path, request_for: Requests) -> None:
    run(request_for("emotion_mean", pretrained=make_head(tmp_path / "head")))
    other = make_head(tmp_path / "other")
    (other / "note.txt").write_text("changed")
    for head in (other, None):
        with pytest.raises(RunError, match=r"holds a run with other settings: .*pretrained"):
            run(request_for("emotion_mean", pretrained=head))


def test_heard_test_audio_is_a_leak(tmp_path: Path, request_for: Requests) -> None:
    """What a head heard in pretraining is audited as what an upstream heard; a transductive protocol declares it."""
    folder, _ = run(request_for("emotion_mean", place="first"))
    head = make_head(tmp_path / "head")
    shutil.copy(folder / "manifest.jsonl", head / "pretraining.jsonl")
    with pytest.raises(ProtocolError, match="pretraining"):
        run(request_for(pretrained=head))
    folder, results = run(request_for(pretrained=head, protocol="superb-transductive", place="told"))
    assert results.protocol.transductive
    shutil.copy(head / "pretraining.jsonl", head / "pretraining-labelled.jsonl")
    with pytest.raises(ProtocolError, match="pretraining labels"):
        run(request_for(pretrained=head, protocol="superb-transductive", place="labels"))


def test_the_command_line(
    tmp_path: Path, demo_root: Path, cache_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--pretrained, and with -e it is refused as everything that comes from the checkpoint."""
    head = make_head(tmp_path / "head")
    given = ["run", "-u", "fbank_no_cmvn", "-d", "emotion_contrastive", "--corpus", "demo", "--data", str(demo_root)]
    given += ["--fold", "1", "--device", "cpu", "--cache-root", str(cache_root), "--pretrained", str(head)]
    assert main([*given, "-o", SMALL + SHORT.format(steps=2, every=2)]) == 0
    said = capsys.readouterr().out
    assert "started from the pretrained head" in said
    folder = Path(said.rpartition("run folder: ")[2].strip())
    assert "-from-" in folder.name
    fold = str(folder / "fold1")
    assert main(["run", "-m", "evaluate", "-e", fold, "--device", "cpu", "--pretrained", str(head)]) != 0
    assert "--pretrained: with a checkpoint given by -e this comes from the checkpoint" in capsys.readouterr().err


# --- who speaks, as a second task ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_second_task(tmp_path: Path, request_for: Requests, reverse: bool) -> None:
    """It trains beside the emotions, over the training part's speakers, and leaves what is exported as it is."""
    task = f"config.downstream_expert.modelrc.auxiliary={{'speaker_weight': 2.0, 'reverse': {reverse}}},,"
    folder, results = run(request_for("emotion_attn_pool", override=task, place="with"))
    state, _ = trained(folder, 2)
    manifest, folds = RunFolder(folder).division()
    speakers = {manifest.by_id[item].speaker for item in folds[1].train}
    assert len(state["auxiliary.task.classifier.weight"]) == len(speakers) < len(manifest.speakers)
    told = "second task: who speaks, weight 2" + (", reversed" if reverse else "")
    assert told in results.deviations
    log = (folder / "fold1" / "log.log").read_text()
    assert "speaker-accuracy" in log
    assert not any("speaker" in line for line in log.splitlines() if line.startswith(("dev", "test")))
    recogniser = load(folder, device="cpu")
    assert recogniser.predict(0.1 * torch.randn(16000).numpy())[0].predicted in recogniser.labels


def test_without_the_second_task_nothing_changes(tmp_path: Path, request_for: Requests) -> None:
    """auxiliary: null, and none at all, write the same predictions and the same record."""
    null = "config.downstream_expert.modelrc.auxiliary=None,,config.downstream_expert.modelrc.pretrained=None,,"
    texts = []
    for place, override in (("one", ""), ("two", null)):
        folder, _ = run(request_for("emotion_mean", override=override, place=place))
        about = json.loads((folder / "run.json").read_text())
        texts.append(((folder / "predictions.csv").read_text(), about["config"]))
    assert texts[0] == texts[1]
    assert not {"auxiliary", "pretrained"} & set(texts[0][1]["downstream_expert"]["modelrc"])
    assert "pretrained" not in texts[0][1]["downstream_expert"]["datarc"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{'speaker_weight': 0}", r"auxiliary: speaker_weight must be a finite number above 0, got 0"),
        ("{'speaker_weight': -1.0}", r"speaker_weight must be a finite number above 0, got -1"),
        ("{'speaker_wieght': 1.0}", r"unknown key 'speaker_wieght'.*speaker_weight"),
        ("{'reverse': 1}", r"auxiliary.reverse: expected bool, found 1"),
        ("speaker", r"auxiliary: expected a mapping of keys to values, found 'speaker'"),
    ],
)
def test_wrong_second_tasks(request_for: Requests, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(request_for("emotion_mean", override=f"config.downstream_expert.modelrc.auxiliary={value},,"))
