"""Texts that are missing, of others, or too long; encoders and recognisers that are none, or want to execute code."""

# ruff: noqa: E501  (one row, one line)

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from text.models import tiny_bert, tiny_ctc

from faults.campaign import Fault, hold, payload, table
from faults.payloads import MALICIOUS

pytestmark = pytest.mark.slow

SHORT = "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=1,,config.runner.log_step=1"
ENCODER = "config.downstream_expert.modelrc.text"
BASE = ("run", "-u", "fbank", "--device", "cpu", "--fold", "1", "--cache-root", "{here}/cache", "--root", "{here}/runs")
DEMO = ("--corpus", "demo", "--data", "{demo}")
RUN = (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encoder={{bert}},,{SHORT}")
OWN = (
    *BASE,
    "--corpus",
    "table",
    "--data",
    "{here}/table.csv",
    "-d",
    "emotion_text",
    "-o",
    f"{ENCODER}.encoder={{bert}},,{SHORT}",
)
TRANSCRIBE = ("transcribe", "{prepared}", "--device", "cpu", "--out", "{here}/asr-x.jsonl")
PREDICT = ("predict", "--run", "{run}", "--device", "cpu", "{audio}")


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, demo_root: Path, tiny_hubert: Path, finished_run: Path
) -> dict[str, Path]:
    from s3prl_emotion.experiment.preparation import prepare
    from s3prl_emotion.runs.folder import RunFolder

    folder = tmp_path_factory.mktemp("text")
    prepare("demo", demo_root, {}, None, RunFolder(folder / "prepared"))
    found = {"bert": tiny_bert(folder / "bert"), "ctc": tiny_ctc(folder / "ctc"), "prepared": folder / "prepared"}
    return {
        **found,
        "demo": demo_root,
        "hubert": tiny_hubert,
        "run": finished_run,
        "audio": next(demo_root.rglob("*.wav")),
    }


def _table(texts: Callable[[int], str]) -> Callable[[Path], None]:
    """Twelve clips of two speakers to a fold, with these texts."""

    def make(here: Path) -> None:
        lines = ["path,label,speaker,fold,text"]
        for number in range(24):
            soundfile.write(here / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(8000), 16000)
            lines.append(f"{number}.wav,{'ab'[number % 2]},s{number // 6},{number // 6 + 1},{texts(number)}")
        (here / "table.csv").write_text("\n".join(lines) + "\n")

    return make


def _write(name: str, *lines: object) -> Callable[[Path], None]:
    def make(here: Path) -> None:
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))

    return make


HEADER = {"format": "s3prl-emotion transcription", "version": 1, "model": "m", "model_sha256": "0" * 64, "kind": "ctc"}


@table(
    # --- what is said -------------------------------------------------------------------------------------------------
    Fault("no texts at all", OWN, ("24 of 24 utterances have no text: ", "transcribe", "--allow-empty-text"), _table(lambda _: "")),
    Fault("one text is missing", OWN, ("1 of 24 utterances have no text: ",), _table(lambda n: "" if n == 3 else "the lamp")),
    Fault("an empty text that is allowed", (*OWN, "--allow-empty-text"), ("1 utterances in which nothing is said",), _table(lambda n: "" if n == 3 else "the lamp"), 0),
    Fault("a text of ten thousand words", OWN, ("1 of 24 texts have more tokens than the 64 that bert takes", "the rest is cut off"), _table(lambda n: "word " * 10_000 if n == 3 else "the lamp"), 0),
    Fault("no such file of texts", (*RUN, "--text", "{here}/nowhere.jsonl"), ("--text", "expected corpus, or a file of transcriptions")),
    Fault("a folder without transcriptions", (*RUN, "--text", "{prepared}"), ("holds no asr-*.jsonl", "s3prl-emotion transcribe")),
    Fault("a file of texts that is none", (*RUN, "--text", "{here}/x.jsonl"), ("x.jsonl, line 1: not JSON",), _write("x.jsonl", "id,text")),
    Fault("an empty file of texts", (*RUN, "--text", "{here}/x.jsonl"), ("holds no transcription",), _write("x.jsonl")),
    Fault("audio as texts", (*RUN, "--text", "{audio}"), ("not transcriptions",)),
    Fault("texts of another format", (*RUN, "--text", "{here}/x.jsonl"), ("expected format",), _write("x.jsonl", {**HEADER, "version": 2})),
    Fault("a header that lacks a key", (*RUN, "--text", "{here}/x.jsonl"), ("missing key 'kind'",), _write("x.jsonl", {key: HEADER[key] for key in HEADER if key != "kind"})),
    Fault("texts of other utterances", (*RUN, "--text", "{here}/x.jsonl"), ("80 of 80 utterances have no text: Ses01F_impro01_F000",), _write("x.jsonl", HEADER, {"id": "a", "text": "b"})),
    Fault("an utterance in which nothing was heard", (*RUN, "--text", "{here}/x.jsonl"), ("utterances have no text", "a recogniser writes nothing"), _write("x.jsonl", HEADER, {"id": "Ses01F_impro01_F000", "text": " "})),
    Fault("an utterance twice", (*RUN, "--text", "{here}/x.jsonl"), ("line 3: 'a' is there twice",), _write("x.jsonl", HEADER, {"id": "a", "text": "b"}, {"id": "a", "text": "c"})),
    Fault("a text that is a number", (*RUN, "--text", "{here}/x.jsonl"), ("text: expected str",), _write("x.jsonl", HEADER, {"id": "a", "text": 3})),
    Fault("a key twice", (*RUN, "--text", "{here}/x.jsonl"), ("given twice",), _write("x.jsonl", '{"id": "a", "id": "b", "text": "c"}')),
    Fault("texts for a head that reads none", (*BASE, *DEMO, "-d", "emotion_mean", "--text", "corpus"), ("--text: -d emotion_mean reads no text",)),
    Fault("a trained upstream without a part", (*RUN, "-f"), ("-f trains the upstream, of which nothing enters",)),
    # --- settings -----------------------------------------------------------------------------------------------------
    Fault("an unknown key", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encodr=x"), ("unknown key 'encodr'", "Did you mean 'encoder'")),
    Fault("an encoder that is a number", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encoder=3"), ("text.encoder: expected str",)),
    Fault("an empty encoder", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encoder="), ("encoder is empty",)),
    Fault("a dropout of one", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.dropout=1"), ("dropout must be in [0, 1)",)),
    Fault("trained perhaps", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.trainable=maybe"), ("trainable: expected bool",)),
    Fault("more tokens than there are", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encoder={{bert}},,{ENCODER}.max_tokens=65,,{SHORT}"), ("max_tokens is 65", "at most 64 tokens")),
    Fault("a pooling of speech that is switched off", (*BASE, *DEMO, "-d", "emotion_text", "-o", "config.downstream_expert.modelrc.pooling.name=correlation"), ("text.speech is false",)),
    Fault("text as code", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"config.downstream_expert.modelrc.text={payload()}"), ("modelrc.text: expected a mapping",)),
    # --- encoders -----------------------------------------------------------------------------------------------------
    Fault("no such encoder", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encoder=bert-base-uncased"), ("text encoder bert-base-uncased: no such folder", "owner/name")),
    Fault("a speech encoder", (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encoder={{hubert}},,{SHORT}"), ("'hubert' is no text encoder",)),
    # --- transcribe ---------------------------------------------------------------------------------------------------
    Fault("nothing prepared", ("transcribe", "{here}/nowhere", "--model", "{ctc}", "--device", "cpu"), ("manifest.jsonl: no such manifest",)),
    Fault("no such recogniser", (*TRANSCRIBE, "--model", "{here}/nowhere"), ("speech recogniser", "no such folder")),
    Fault("a text encoder as recogniser", (*TRANSCRIBE, "--model", "{bert}"), ("'bert' recognises no speech",)),
    Fault("a speech encoder as recogniser", (*TRANSCRIBE, "--model", "{hubert}"), ("tokenizer's files are missing",)),
    Fault("no utterance to a batch", (*TRANSCRIBE, "--model", "{ctc}", "--batch-size", "0"), ("--batch-size 0",)),
    Fault("a language for letters", (*TRANSCRIBE, "--model", "{ctc}", "--language", "de"), ("takes none",)),
    Fault("a folder of the corpus without the corpus", (*TRANSCRIBE, "--model", "{ctc}", "--data", "{demo}"), ("--data: prepares a corpus: give --corpus too",)),
    Fault("another corpus than is prepared", (*TRANSCRIBE, "--model", "{ctc}", "--corpus", "emodb4"), ("holds demo, not what --corpus emodb4",)),
    Fault("a file of somebody else's", (*TRANSCRIBE, "--model", "{ctc}"), ("asr-x.jsonl: is no file of ours",), _write("asr-x.jsonl", {"id": "a", "text": "b"})),
    Fault("a file by another model", (*TRANSCRIBE, "--model", "{ctc}"), ("holds transcriptions made otherwise: model 'm', now 'ctc'",), _write("asr-x.jsonl", HEADER)),
    Fault("a file that is a folder", ("transcribe", "{prepared}", "--model", "{ctc}", "--device", "cpu", "--out", "{here}"), ("it is a folder",)),
    # --- predict ------------------------------------------------------------------------------------------------------
    Fault("words for heads that read none", (*PREDICT, "--text", "the lamp"), ("read no text; leave it out",)),
    Fault("a recogniser for heads that read none", (*PREDICT, "--asr", "{ctc}"), ("read no text; leave it out",)),
    Fault("an encoder for heads that have none", (*PREDICT, "--text-encoder", "{bert}"), ("without --text-encoder; leave it out",)),
)  # fmt: skip
def test_text(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str], places: dict[str, Path]) -> None:
    hold(fault, tmp_path, capsys, **places)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "without a tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer's files are missing"),
    "with half a tokenizer": (lambda folder: (folder / "tokenizer.json").write_text('{"version":'), "the tokenizer cannot be read"),
    "with settings that are none": (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), "tokenizer_config.json: expected names and values"),
    "with code as tokenizer": (lambda folder: (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["t.T", null]}}'), "code beside it (auto_map)"),
    "without settings": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "of an unknown kind": (lambda folder: (folder / "config.json").write_text('{"model_type": "brt"}'), "config.json"),
    "of code": (lambda folder: (folder / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoModel": "m.M"}}'), "refused, because the model is code"),
    "without weights": (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
    "with torn weights": (lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:999]), "torn"),
    "with a config of gigantic size": (lambda folder: (folder / "config.json").write_text(json.dumps({**json.loads((folder / "config.json").read_text()), "hidden_size": 2**30})), "config.json"),
}  # fmt: skip
"""What is done to a good folder, and what must be said."""


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_encoders(name: str, tmp_path, capsys, places) -> None:
    spoil, says = SPOILT[name]
    spoil(shutil.copytree(places["bert"], tmp_path / "spoilt"))
    argv = (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encoder={{here}}/spoilt,,{SHORT}")
    hold(Fault(name, argv, (says,)), tmp_path, capsys, **places)


@pytest.mark.parametrize("kind", ["encoder", "recogniser"])
@pytest.mark.parametrize("name", MALICIOUS)
def test_weights_that_want_to_execute_code(name: str, kind: str, tmp_path, capsys, places) -> None:
    folder = shutil.copytree(places["bert" if kind == "encoder" else "ctc"], tmp_path / "spoilt")
    (folder / "model.safetensors").unlink()
    MALICIOUS[name](folder / "pytorch_model.bin")
    run = (*BASE, *DEMO, "-d", "emotion_text", "-o", f"{ENCODER}.encoder={{here}}/spoilt,,{SHORT}")
    argv = run if kind == "encoder" else (*TRANSCRIBE, "--model", "{here}/spoilt")
    hold(Fault(name, argv, ("pytorch_model.bin",)), tmp_path, capsys, **places)
