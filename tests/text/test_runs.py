"""Runs of heads that read what is said: which texts, resumed, scored again, and refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from s3prl_emotion.text.encoder import FrozenTexts

Start = Callable[..., int]
TEXT = "config.downstream_expert.modelrc.text"


@pytest.fixture
def start(run, bert) -> Start:
    """The ``run`` fixture with the tiny encoder, ``trained`` or not."""

    def call(*options: str, trained: bool = False, more: str = "", **given) -> int:
        override = f"{TEXT}.encoder={bert},,{TEXT}.trainable={trained}" + (f",,{more}" if more else "")
        return run(*options, more=override, **given)

    return call


def _parameters(path: Path) -> dict[str, torch.Tensor]:
    content = load_checkpoint(path)
    parts = ("Downstream", "Upstream", "Featurizer")
    return {
        f"{part}.{name}": value
        for part in parts
        for name, value in content.get(part, {}).items()
        if isinstance(value, torch.Tensor)
    }


@pytest.mark.slow
def test_both_trained_and_interrupted_goes_on_as_the_same_run(start, tiny_hubert, tmp_path, monkeypatch) -> None:
    """Bit for bit, with dropout in both encoders and an epoch cut in its middle."""
    from s3prl_emotion.downstream.expert import DownstreamExpert

    options = ("-u", str(tiny_hubert), "-f", "-s", "last_hidden_state", "-d", "emotion_speech_text", "--fold", "1")
    more = "config.downstream_expert.datarc.train_batch_size=16"
    given = {"steps": 6, "every": 3, "trained": True, "more": more}
    assert start(*options, folder=tmp_path / "whole", **given) == 0
    original, seen = DownstreamExpert.forward, []

    def interrupt(self, split, *args, **kwargs):
        seen.append(split)
        if seen.count("train") == 5:
            raise KeyboardInterrupt
        return original(self, split, *args, **kwargs)

    monkeypatch.setattr(DownstreamExpert, "forward", interrupt)
    assert start(*options, folder=tmp_path / "cut", **given) == 130
    monkeypatch.setattr(DownstreamExpert, "forward", original)
    assert start(*options, folder=tmp_path / "cut", **given) == 0
    whole, cut = (_parameters(tmp_path / name / "fold1" / "states-6.ckpt") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    early = _parameters(tmp_path / "whole" / "fold1" / "states-3.ckpt")
    for part in ("Downstream.text.encoder.model.encoder", "Upstream.model.encoder", "Downstream.head.classifier"):
        names = [name for name in whole if name.startswith(part) and name.endswith("weight")]
        assert any(not torch.equal(early[name], whole[name]) for name in names), f"{part} did not move"
    predictions = [(tmp_path / name / "fold1" / "predictions.csv").read_bytes() for name in ("whole", "cut")]
    assert predictions[0] == predictions[1]
    record = json.loads((tmp_path / "whole" / "results.json").read_text())["settings"]
    assert record["text"]["trainable"]
    assert "text encoder trained" in record["deviations"]


def test_stored_and_not_stored_texts_give_one_result(start, tmp_path, monkeypatch) -> None:
    options = ("-u", "fbank", "-d", "emotion_text", "--fold", "1")
    assert start(*options, folder=tmp_path / "stored") == 0
    with monkeypatch.context() as patch:
        patch.setattr(FrozenTexts, "compute", lambda *_: pytest.fail("computed again"))
        patch.setattr("s3prl_emotion.text.encoder._states", _probe_alone())
        assert start(*options, "--seed", "7", folder=tmp_path / "again") == 0
    assert start(*options, "--no-cache", folder=tmp_path / "computed") == 0
    stored, computed = (tmp_path / name / "fold1" / "predictions.csv" for name in ("stored", "computed"))
    assert stored.read_bytes() == computed.read_bytes()
    state = load_checkpoint(tmp_path / "stored" / "fold1" / "dev-best.ckpt")["Downstream"]
    assert not [name for name in state if name.startswith("text.")]


def _probe_alone():
    """States of the probe alone, which is asked at every start, from an encoder of its own."""
    from s3prl_emotion.text.encoder import TextEncoder

    def states(frozen, ids, device):
        with torch.no_grad():
            return TextEncoder(frozen.opened).eval()([ids.tolist()])[0][None, None]

    return states


def test_what_a_run_says_of_its_texts(start, tmp_path, capsys) -> None:
    assert start("-u", "fbank", "-d", "emotion_speech_text", "--fold", "1") == 0
    printed = capsys.readouterr()
    assert "12 sentences of 80 utterances tell 0.00 of the label's 2.00 bits: text alone is at chance" in printed.err
    assert "text: corpus; read by tiny_bert, frozen; 12 sentences of 80 utterances tell" in printed.out
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["text"]["source"] == "corpus"
    assert len(about["text"]["encoder_sha256"]) == 64
    told = json.loads((tmp_path / "run" / "text.json").read_text())
    assert told["cut"] == 0
    assert told["max_tokens"] == 64
    assert told["sentences"] == 12
    options = ("run", "-m", "evaluate", "-e", str(tmp_path / "run" / "fold1"), "--device", "cpu")
    before = (tmp_path / "run" / "fold1" / "test_predictions.csv").read_bytes()
    assert main(list(options)) == 0
    assert (tmp_path / "run" / "fold1" / "test_predictions.csv").read_bytes() == before


def _heard(start: Start, folder: Path, change: Callable[[str], str | None]) -> Path:
    """A file of transcriptions of the demo corpus, from its own texts."""
    assert start("-u", "fbank", "-d", "emotion_text", "--fold", "1", folder=folder / "corpus") == 0
    rows = []
    for item in Manifest.read(folder / "corpus" / "manifest.jsonl").utterances:
        if (text := change(item.text)) is not None:
            rows.append(json.dumps({"id": item.id, "text": text, "content": item.sound}))
    (folder / "asr-mine.jsonl").write_text("\n".join(rows) + "\n")
    return folder / "asr-mine.jsonl"


def test_texts_of_a_recogniser(start, tmp_path, capsys) -> None:
    path = _heard(start, tmp_path, lambda text: text.replace("The", "A"))
    options = ("-u", "fbank", "-d", "emotion_text", "--fold", "1", "--text", str(path))
    assert start(*options, folder=tmp_path / "heard") == 0
    texts = [item.text for item in Manifest.read(tmp_path / "heard" / "manifest.jsonl").utterances]
    assert any(text.startswith("A ") for text in texts)
    assert not any("The" in text for text in texts)
    told = json.loads((tmp_path / "heard" / "results.json").read_text())["settings"]
    assert 0 < told["text"]["wer"] < 0.5
    assert told["text"]["remark"].endswith("what was heard can tell more only by its errors")
    assert "texts of asr-mine.jsonl" in told["deviations"]
    assert start(*options, folder=tmp_path / "corpus") == 2, "another run, by its texts"
    assert "text.source was 'corpus'" in capsys.readouterr().err
    path.write_text(path.read_text().replace("A ", "One "))
    assert start(*options, folder=tmp_path / "heard") == 2, "another run, by the hash of the file"
    assert "text.sha256 was" in capsys.readouterr().err
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**row, "content": "0" * 32}) + "\n" for row in rows))
    assert start(*options, folder=tmp_path / "other") == 2
    assert "was transcribed from other audio" in capsys.readouterr().err


@pytest.mark.slow
def test_missing_texts_are_named_or_allowed(start, tmp_path, capsys) -> None:
    path = _heard(start, tmp_path, lambda text: None if text.startswith("The lamp") else " " if "bus" in text else text)
    options = ("-u", "fbank", "-d", "emotion_text", "--fold", "1", "--text", str(path))
    assert start(*options, folder=tmp_path / "heard") == 2
    said = capsys.readouterr().err
    assert "utterances have no text: Ses" in said
    assert "--allow-empty-text" in said
    assert not (tmp_path / "heard" / "run.json").exists()
    assert start(*options, "--allow-empty-text", folder=tmp_path / "heard") == 0
    assert "in which nothing is said, first Ses" in capsys.readouterr().err
    told = json.loads((tmp_path / "heard" / "text.json").read_text())
    assert told["empty"] > 0
    assert told["allow_empty"]


@pytest.mark.slow
def test_long_texts_are_cut_and_counted(start, tmp_path, capsys) -> None:
    path = _heard(start, tmp_path, lambda text: text * 1000 if text.startswith("The lamp") else text)
    assert start("-u", "fbank", "-d", "emotion_text", "--fold", "1", "--text", str(path), folder=tmp_path / "long") == 0
    printed = capsys.readouterr()
    assert "have more tokens than the 64 that tiny_bert takes" in printed.err
    assert "cut to 64 tokens" in " ".join(printed.out.split())
    assert json.loads((tmp_path / "long" / "text.json").read_text())["cut"] > 0


def test_an_edited_text_or_encoder_is_not_gone_on_with(start, bert, run, tmp_path, capsys) -> None:
    own = shutil.copytree(bert, tmp_path / "mine")
    options = ("-u", "fbank", "-d", "emotion_text", "--fold", "1")
    more = f"{TEXT}.encoder={own},,{TEXT}.trainable=True"
    assert run(*options, more=more, folder=tmp_path / "run") == 0
    evaluate = ["run", "-m", "evaluate", "-e", str(tmp_path / "run" / "fold1"), "--device", "cpu"]
    (own / "note.txt").write_text("x")
    assert main(evaluate) == 2
    assert "is not the one of the training" in capsys.readouterr().err
    (own / "note.txt").unlink()
    path = tmp_path / "run" / "manifest.jsonl"
    manifest = Manifest.read(path)
    first = dataclasses.replace(manifest.utterances[0], text="something else")
    dataclasses.replace(manifest, utterances=(first, *manifest.utterances[1:])).write(path)
    assert main(evaluate) == 2
    assert "texts of the manifest are not those of the training" in capsys.readouterr().err
    assert run(*options, more=more, folder=tmp_path / "run") == 2
    assert "its texts are not those that text.json has the hash of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-d", "emotion_mean", "--text", "corpus"), "--text: -d emotion_mean reads no text"),
        (("-d", "emotion_mean", "--allow-empty-text"), "--allow-empty-text: -d emotion_mean reads no text"),
        (("-d", "emotion", "--text", "corpus"), "--text: -d emotion reads no text"),
    ],
)
def test_options_that_would_be_ignored(run, options, says, capsys) -> None:
    assert run("-u", "fbank", *options) == 2
    assert says in capsys.readouterr().err


def test_a_trained_upstream_of_which_nothing_enters_is_refused(start, tiny_hubert, capsys) -> None:
    assert start("-u", str(tiny_hubert), "-f", "-d", "emotion_text") == 2
    assert "-f trains the upstream, of which nothing enters -d emotion_text" in capsys.readouterr().err


@pytest.mark.slow
def test_any_head_reads_text_when_told_so(start, tmp_path) -> None:
    """``-o`` on a head of another pooling."""
    assert start("-u", "fbank", "-d", "emotion_attn_corr", "--fold", "1", steps=2) == 0
    state = load_checkpoint(tmp_path / "run" / "fold1" / "dev-best.ckpt")["Downstream"]
    assert state["head.classifier.weight"].shape[1] == 256 * 255 // 2 + 16


@pytest.mark.slow
def test_an_encoder_of_the_hub_is_known_by_its_commit(run, bert, tmp_path, monkeypatch) -> None:
    from s3prl_emotion import load
    from s3prl_emotion.upstreams.hub import TOKENIZER_FILES

    commit = "0123456789abcdef"
    place = shutil.copytree(bert, tmp_path / "models--owner--name" / "snapshots" / commit)
    asked: list[dict[str, object]] = []
    monkeypatch.setattr("s3prl_emotion.text.loading.snapshot", lambda name, **given: place)
    assert run("-u", "fbank", "-d", "emotion_text", "--fold", "1", more=f"{TEXT}.encoder=owner/name") == 0
    told = json.loads((tmp_path / "run" / "results.json").read_text())["settings"]
    assert (told["text"]["encoder"], told["text"]["encoder_revision"]) == ("owner/name", commit)
    assert "text encoder owner/name" in told["deviations"]

    def fetch(name: str, **given: object) -> Path:
        asked.append({"name": name, **given})
        return place

    monkeypatch.setattr("s3prl_emotion.upstreams.verification.snapshot", fetch)
    recogniser = load(tmp_path / "run", device="cpu")
    assert asked == [{"name": "owner/name", "revision": commit, "further": TOKENIZER_FILES}]
    content = json.loads((recogniser.export(tmp_path / "out") / "config.json").read_text())
    assert content["text"]["encoder"] == "owner/name"
    assert content["text"]["encoder_revision"] == commit
    assert f"commit `{commit}`" in (tmp_path / "out" / "README.md").read_text()
