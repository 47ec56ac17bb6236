"""A trained head that reads text: predicts what its run predicted, from given and from heard texts, also exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from s3prl_emotion import load
from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.runs.prediction import read_predictions

SHORT = (
    "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2,,"
    "config.optimizer.lr=1e-3,,config.downstream_expert.modelrc.text.encoder={bert},,"
    "config.downstream_expert.modelrc.text.trainable={trained}"
)


@pytest.fixture(
    scope="module", params=[pytest.param(False, id="frozen", marks=pytest.mark.slow), pytest.param(True, id="trained")]
)
def finished(request, tmp_path_factory, demo_root, bert) -> Path:
    """Two folds of speech and text, states stored in float32."""
    folder = tmp_path_factory.mktemp("spoken") / "run"
    argv = ["run", "-u", "fbank", "-d", "emotion_speech_text", "--corpus", "demo", "--data", str(demo_root)]
    argv += ["--device", "cpu", "--fold", "1,2", "-p", str(folder), "--cache-root", str(folder.parent / "cache")]
    assert main([*argv, "-o", SHORT.format(bert=bert, trained=request.param)]) == 0
    return folder


def _expected(run: Path, fold: int) -> tuple[list[Path], list[str], np.ndarray]:
    manifest = Manifest.read(run / "manifest.jsonl")
    rows, _ = read_predictions(run / f"fold{fold}" / "predictions.csv")
    items = [manifest.by_id[row.utterance] for row in rows[::4]]
    return (
        [manifest.path_of(item) for item in items],
        [item.text or "" for item in items],
        np.array([row.probabilities for row in rows[::4]]),
    )


def _rows(recogniser, files: list[Path], texts: list[str]) -> np.ndarray:
    return np.array([list(item.probabilities.values()) for item in recogniser.predict(files, texts)])


def test_predictions_are_those_of_the_run_also_exported(finished, bert, tmp_path) -> None:
    recogniser = load(finished, fold=1, device="cpu")
    files, texts, expected = _expected(finished, 1)
    assert recogniser.reads_text
    np.testing.assert_allclose(_rows(recogniser, files, texts), expected, atol=2e-6)
    other = _rows(recogniser, files, ["qqq zzz"] * len(files))
    assert np.abs(other - expected).max() > 1e-4, "the text matters"
    both = load(finished, device="cpu")
    exported = both.export(tmp_path / "exported")
    trained = (exported / "text.safetensors").is_file()
    content = json.loads((exported / "config.json").read_text())
    assert content["text"]["encoder"] == "tiny_bert"
    assert content["modelrc"]["text"]["trainable"] is trained
    assert str(bert) not in (exported / "config.json").read_text()
    card = (exported / "README.md").read_text()
    assert content["text"]["encoder_sha256"] in card
    assert ("weights are in `text.safetensors`" in card) is trained
    with pytest.raises(RunError, match=r"text_encoder=PATH"):
        load(exported, device="cpu")
    again = load(exported, device="cpu", text_encoder=bert)
    assert np.array_equal(_rows(again, files, texts), _rows(both, files, texts))


def test_texts_are_heard_where_they_are_not_given(finished, ctc, capsys, tmp_path) -> None:
    files, texts, _ = _expected(finished, 1)
    recogniser = load(finished, fold=1, device="cpu", asr=str(ctc))
    heard = recogniser.predict(files[:2])
    assert all(item.text and item.text not in texts for item in heard)
    given = recogniser.predict(files[:2], [item.text for item in heard])
    assert [item.probabilities for item in given] == [item.probabilities for item in heard]
    array = np.zeros(16000)
    assert recogniser.recognise(array).text is not None, "silence is heard too, whatever is written of it"
    common = ["predict", "--run", str(finished), "--device", "cpu", "--fold", "1", str(files[0])]
    assert main([*common, "--asr", str(ctc), "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == heard[0].text
    assert main([*common, "--text", texts[0], "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == texts[0]
    rows = [json.dumps({"id": file.stem, "text": text}) for file, text in zip(files, texts, strict=True)]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows))
    assert main([*common, str(files[1]), "--text", str(tmp_path / "texts.jsonl"), "--format", "jsonl"]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == texts[:2]


def test_what_is_missing_or_too_much_is_said(finished, ctc, tmp_path, capsys) -> None:
    files, _, _ = _expected(finished, 1)
    with pytest.raises(RunError, match="read what is said: give it"):
        load(finished, fold=1, device="cpu").predict(files[:1])
    with pytest.raises(RunError, match="expected one for each of 1 recordings, got 2"):
        load(finished, fold=1, device="cpu").predict(files[:1], ["a", "b"])
    common = ["predict", "--run", str(finished), "--device", "cpu", "--fold", "1", str(files[0])]
    for options, says in (
        ([], "give it with --text FILE, or have it heard with --asr MODEL"),
        (["--text", "a", "--asr", str(ctc)], "leave one out"),
        ([str(files[1]), "--text", "some words"], "words can be given for one recording only, here are 2"),
        (["--text", str(_others(tmp_path))], "holds no text of"),
        (["--asr", str(tmp_path / "nowhere")], "speech recogniser"),
        (["--text", "a", "--text-encoder", str(ctc)], "another checkpoint"),
    ):
        assert main([*common, *options]) == 2
        assert says in capsys.readouterr().err


def _others(folder: Path) -> Path:
    path = folder / "others.jsonl"
    path.write_text('{"id": "another", "text": "a"}\n')
    return path
