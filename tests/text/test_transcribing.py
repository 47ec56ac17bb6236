"""Transcriptions: by whom, resumed, of silence, and files that are none."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError, CorpusError, RunError, UpstreamError
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.locks import exclusive
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.text import transcribing
from s3prl_emotion.text.recognition import SpeechRecogniser
from s3prl_emotion.text.transcribing import transcribe
from s3prl_emotion.text.transcripts import read_transcription


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """A prepared folder of nine clips of noise, one of them silent, the longest beyond a window of two seconds."""
    from s3prl_emotion.experiment.preparation import prepare

    folder = tmp_path_factory.mktemp("small")
    generator = np.random.default_rng(0)
    lines = ["path,label,speaker,fold,text"]
    for number in range(9):
        samples = 0.1 * generator.standard_normal(4000 + 4000 * number) * (number != 4)
        soundfile.write(folder / f"{number}.wav", samples, 16000)
        lines.append(f"{number}.wav,{'ab'[number % 2]},s{number % 3},{number % 3 + 1},the lamp number {number}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    prepare("table", folder / "table.csv", {}, None, RunFolder(folder / "prepared"))
    return folder / "prepared"


def _manifest(small: Path) -> Manifest:
    return Manifest.read(small / "manifest.jsonl")


@pytest.mark.parametrize("name", ["ctc", "whisper"])
def test_resumed_is_the_same_and_computes_nothing_twice(name, small, tmp_path, monkeypatch, request) -> None:
    folder = request.getfixturevalue(name)
    recogniser = SpeechRecogniser(str(folder), "cpu")
    whole = transcribe(_manifest(small), recogniser, tmp_path / "whole.jsonl", batch_size=2)
    assert whole.computed == 9
    lines = (tmp_path / "whole.jsonl").read_text().splitlines()
    header = json.loads(lines[0])
    assert (header["model"], header["model_sha256"]) == (folder.name, checkpoint_sha256(str(folder)))
    assert [json.loads(line)["id"] for line in lines[1:]] == [item.id for item in _manifest(small).utterances]

    original, calls = SpeechRecogniser.transcribe, []

    def interrupt(self, waveforms):
        calls.append(len(waveforms))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, waveforms)

    monkeypatch.setattr(SpeechRecogniser, "transcribe", interrupt)
    cut = tmp_path / "cut.jsonl"
    with pytest.raises(KeyboardInterrupt):
        transcribe(_manifest(small), recogniser, cut, batch_size=2)
    assert len(read_transcription(cut, torn=True).rows) == 4
    with cut.open("a") as file:
        file.write('{"id": "torn')
    monkeypatch.setattr(SpeechRecogniser, "transcribe", lambda self, waves: (calls.append(1), original(self, waves))[1])
    calls.clear()
    assert transcribe(_manifest(small), recogniser, cut, batch_size=2).computed == 5
    assert len(calls) == 3
    assert cut.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    calls.clear()
    assert transcribe(_manifest(small), recogniser, cut, batch_size=2).computed == 0
    assert not calls


@pytest.mark.parametrize("name", ["ctc", pytest.param("whisper", marks=pytest.mark.slow)])
def test_batch_mates_change_nothing(name, small, tmp_path, request) -> None:
    recogniser = SpeechRecogniser(str(request.getfixturevalue(name)), "cpu")
    for size in (1, 9):
        transcribe(_manifest(small), recogniser, tmp_path / f"{size}.jsonl", batch_size=size)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "9.jsonl").read_bytes()


def test_the_rate_is_that_of_the_corpus_texts(small, ctc, tmp_path, monkeypatch) -> None:
    known = {item.duration_s: item.text for item in _manifest(small).utterances}

    def hear(self, waveforms):
        texts = [known[len(samples) / 16000] for samples in waveforms]
        return ["" if text.endswith("4") else text.upper().replace("LAMP", "damp") for text in texts]

    monkeypatch.setattr(SpeechRecogniser, "transcribe", hear)
    heard = transcribe(_manifest(small), SpeechRecogniser(str(ctc), "cpu"), tmp_path / "x.jsonl")
    assert heard.reference_words == 36
    assert heard.wer == pytest.approx((8 * 1 + 4) / 36)
    assert len(heard.empty) == 1


def test_changed_audio_is_heard_again(small, ctc, tmp_path) -> None:
    recogniser, path = SpeechRecogniser(str(ctc), "cpu"), tmp_path / "x.jsonl"
    transcribe(_manifest(small), recogniser, path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["content"], lines[3]["text"] = "0" * 32, "of other audio"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert transcribe(_manifest(small), recogniser, path).computed == 1
    assert "of other audio" not in path.read_text()


def test_files_of_others_are_refused(small, ctc, whisper, tmp_path) -> None:
    path = tmp_path / "x.jsonl"
    transcribe(_manifest(small), SpeechRecogniser(str(ctc), "cpu"), path)
    before = path.read_bytes()
    with pytest.raises(RunError, match="made otherwise: model 'tiny_ctc', now 'tiny_whisper'"):
        transcribe(_manifest(small), SpeechRecogniser(str(whisper), "cpu"), path)
    path.write_text('{"id": "a", "text": "by hand"}\n')
    with pytest.raises(RunError, match="no file of ours"):
        transcribe(_manifest(small), SpeechRecogniser(str(ctc), "cpu"), path)
    path.write_bytes(before)
    with exclusive(tmp_path / ".x.jsonl.lock"), pytest.raises(RunError, match="another process is writing it"):
        transcribe(_manifest(small), SpeechRecogniser(str(ctc), "cpu"), path)


def test_what_recognises_no_speech(bert, tiny_hubert, ctc, whisper) -> None:
    with pytest.raises(UpstreamError, match="'bert' recognises no speech"):
        SpeechRecogniser(str(bert), "cpu")
    with pytest.raises(UpstreamError, match="tokenizer's files are missing"):
        SpeechRecogniser(str(tiny_hubert), "cpu")
    with pytest.raises(ConfigError, match="takes none"):
        SpeechRecogniser(str(ctc), "cpu", language="de")
    with pytest.raises(ConfigError, match="expected one of de, en"):
        SpeechRecogniser(str(whisper), "cpu", language="fr")
    assert SpeechRecogniser(str(whisper), "cpu", language="de").facts.language == "de"


def test_an_encoder_that_was_not_trained_to_write_is_refused(ctc, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(ctc, tmp_path / "encoder")
    state = {name: value for name, value in load_file(ctc / "model.safetensors").items() if "lm_head" not in name}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UpstreamError, match="not trained to write"):
        SpeechRecogniser(str(folder), "cpu")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no transcription"),
        ("x\n", "line 1: not JSON"),
        ('{"format": "other", "version": 1}\n', "expected format"),
        ('{"id": "a", "text": "b"}\n{"id": "a", "text": "c"}\n', "line 2: 'a' is there twice"),
        ('{"id": "a", "txt": "b"}\n', "unknown key 'txt'"),
        ('{"id": "a"}\n', "missing key 'text'"),
        ('{"id": "a", "text": null}\n', "expected str"),
        ('{"id": "a", "text": "\\ud800"}\n', "half a surrogate pair"),
    ],
)
def test_files_that_are_none(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(CorpusError, match=says):
        read_transcription(tmp_path / "x.jsonl")


def test_the_command(small, ctc, capsys) -> None:
    options = ["transcribe", str(small), "--model", str(ctc), "--device", "cpu"]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "9 utterances by tiny_ctc, 9 of them now" in printed
    assert "word error rate" in printed
    assert "over 36 words of 9 texts (Unicode NFKC" in printed
    assert printed.splitlines()[-1] == str(small / "asr-tiny_ctc.jsonl")
    assert main(options) == 0
    assert "0 of them now" in capsys.readouterr().out
    assert not [name for name in os.listdir(small) if name.endswith(".tmp")]


def test_nothing_heard_is_said(small, ctc, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(SpeechRecogniser, "transcribe", lambda self, waves: ["" for _ in waves])
    options = ["transcribe", str(small), "--model", str(ctc), "--device", "cpu", "--out", str(tmp_path / "x.jsonl")]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "nothing was heard in 9 of 9 utterances: " in printed
    assert "--allow-empty-text" in printed


def test_the_longest_come_first(small) -> None:
    batches = transcribing._batches(_manifest(small).utterances, 4)
    assert [len(batch) for batch in batches] == [4, 4, 1]
    durations = [item.duration_s for batch in batches for item in batch]
    assert durations == sorted(durations, reverse=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_beams": 1_000_000}, "num_beams is 1000000, expected 1 to 64"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"num_beams": -5}, "num_beams"),
        ({"num_return_sequences": 1000}, "num_return_sequences"),
        ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, "num_beam_groups"),
        ({"max_length": 10**9}, "max_length is 1000000000, expected 1 to 10000"),
        ({"max_new_tokens": 10**9}, "max_new_tokens"),
        ({"max_new_tokens": "many"}, "between instances of 'str' and 'int'"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "penalty_alpha"),
        ({"dola_layers": "high"}, "dola_layers"),
        ({"prompt_lookup_num_tokens": 10**6}, "prompt_lookup_num_tokens"),
        ({"top_k": 10**9}, "top_k"),
        ({"suppress_tokens": list(range(20_000))}, "suppress_tokens holds 20000 values"),
        ({"custom_generate": "somebody/code"}, "custom_generate"),
        ({"min_length": 10**12}, "min_length"),
    ],
)
def test_settings_of_generation_that_fit_no_memory(
    whisper: Path, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    folder = shutil.copytree(whisper, tmp_path / "spoilt")
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UpstreamError, match=says) as caught:
        SpeechRecogniser(str(folder), "cpu")
    assert "generation_config.json" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"num_beams": ' + "[" * 50_000, '{"num_beams": 1, "num_beams": 2}', "[]", "{"]
)
def test_settings_of_generation_that_are_none(whisper: Path, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(whisper, tmp_path / "spoilt")
    (folder / "generation_config.json").write_text(text)
    with pytest.raises(UpstreamError, match=r"generation_config.json: "):
        SpeechRecogniser(str(folder), "cpu")


@pytest.fixture
def prepared(small, ctc, tmp_path) -> list[str]:
    """The command on a folder that it has prepared and transcribed."""
    options = ["transcribe", str(tmp_path / "folder"), "--model", str(ctc), "--device", "cpu", "--corpus", "table"]
    assert main([*options, "--data", str(small.parent / "table.csv")]) == 0
    return options


def test_a_prepared_folder_is_that_of_its_corpus(small, prepared, tmp_path, capsys) -> None:
    same = [*prepared, "--data", str(small.parent / "table.csv")]
    assert main(same) == 0
    assert "9 utterances by tiny_ctc, 0 of them now" in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    shutil.copyfile(small.parent / "0.wav", small.parent / "extra.wav")
    rows = (small.parent / "table.csv").read_text().splitlines()
    others = {
        "fewer": (rows[:-1], "holds another utterance"),
        "more": ([*rows, "extra.wav,a,s0,1,another"], "holds no utterance"),
        "other": ([row.replace(",b,s1", ",b,s2") for row in rows], "with speaker 's1'"),
        "texts": ([row.replace("number 3", "number three") for row in rows], "with text 'the lamp number 3'"),
    }
    for name, (lines, told) in others.items():
        (small.parent / f"{name}.csv").write_text("\n".join(lines) + "\n")
        assert main([*prepared, "--data", str(small.parent / f"{name}.csv")]) == 2
        said = capsys.readouterr().err
        assert told in said, said
        assert "Name another folder" in said
    assert main([*prepared[:-1], "demo"]) == 2
    assert "holds table" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()} == before


def test_a_folder_without_folds_is_prepared_again(small, prepared, tmp_path) -> None:
    """Its maker was killed between manifest and folds."""
    folds = (tmp_path / "folder" / "folds.json").read_bytes()
    (tmp_path / "folder" / "folds.json").unlink()
    assert main([*prepared, "--data", str(small.parent / "table.csv")]) == 0
    assert (tmp_path / "folder" / "folds.json").read_bytes() == folds


def test_a_run_is_not_prepared_again(small, prepared, tmp_path, capsys) -> None:
    (tmp_path / "folder" / "run.json").write_text("{}")
    assert main([*prepared, "--data", str(small.parent / "table.csv")]) == 2
    assert "is the folder of a run, whose manifest and folds must stay" in capsys.readouterr().err


def test_a_signal_waits_for_the_batch(small, ctc, tmp_path, monkeypatch, capsys) -> None:
    original, calls = SpeechRecogniser.transcribe, []

    def signalled(self, waves):
        calls.append(len(waves))
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, waves)

    monkeypatch.setattr(SpeechRecogniser, "transcribe", signalled)
    out = tmp_path / "x.jsonl"
    options = ["transcribe", str(small), "--model", str(ctc), "--device", "cpu", "--batch-size", "2", "--out", str(out)]
    assert main(options) == 128 + signal.SIGTERM
    assert f"SIGTERM: {out} has 4 of 9 utterances; the same command goes on from there" in capsys.readouterr().err
    assert len(read_transcription(out).rows) == 4
    assert main(options) == 0
    assert "5 of them now" in capsys.readouterr().out
