"""Models of text and of speech to text in the forms in which trainings save them; adapters and settings beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCTC, BertModel, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.text.encoder import TextEncoder
from s3prl_emotion.text.loading import open_encoder
from s3prl_emotion.text.recognition import SpeechRecogniser

State = dict[str, Tensor]
HEAD = {"fc.weight": torch.zeros(2), "pooling.attention": torch.zeros(3)}


def _under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


FORMS: dict[str, Callable[[State], Any]] = {
    **{
        f"under {prefix}": lambda state, prefix=prefix: {**_under(prefix, state), **HEAD}
        for prefix in ("", "module.", "bert.", "model.bert.", "_orig_mod.module.", "0.auto_model.")
    },
    "Lightning": lambda state: {"epoch": 1, "state_dict": _under("model.text.", state), "callbacks": {}},
}


def _saved(source: Path, folder: Path, change: Callable[[State], Any]) -> Path:
    shutil.copytree(source, folder)
    state = change(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def _base(state: State) -> State:
    return {name.removeprefix("bert."): value for name, value in state.items() if name.startswith("bert.")}


@pytest.mark.parametrize("form", FORMS)
def test_a_complete_text_encoder_is_found(bert: Path, tmp_path: Path, form: str) -> None:
    folder = _saved(bert, tmp_path / "mine", lambda state: FORMS[form](_base(state)))
    opened = open_encoder(str(folder))
    ids = opened.tokens("the lamp")[0]
    states = BertModel.from_pretrained(bert)(torch.tensor([ids])).last_hidden_state
    torch.testing.assert_close(TextEncoder(opened).eval()([ids])[0], states[0].mean(dim=0))


WRONG: dict[str, tuple[Callable[[State], State], str]] = {
    "a tensor is missing": (
        lambda state: {name: value for name, value in state.items() if name != "encoder.layer.0.output.dense.bias"},
        "1 missing: encoder.layer.0.output.dense.bias",
    ),
    "of another kind": (lambda state: _under("roberta.", state), "as those of a 'roberta' do"),
    "two": (
        lambda state: {**_under("a.", state), **_under("b.", {name: value + 1 for name, value in state.items()})},
        "holds 2 such models with different weights",
    ),
    "not finite": (
        lambda state: {**state, "embeddings.LayerNorm.bias": torch.full((16,), torch.inf)},
        "embeddings.LayerNorm.bias holds values that are not finite",
    ),
    "an adapter's names": (
        lambda state: {**state, "encoder.layer.0.output.dense.lora_B.default.weight": torch.zeros(2)},
        "is of an adapter (peft)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_such_encoder_is_refused(bert: Path, tmp_path: Path, case: str) -> None:
    spoil, message = WRONG[case]
    folder = _saved(bert, tmp_path / "mine", lambda state: spoil(_base(state)))
    with pytest.raises(UpstreamError) as caught:
        TextEncoder(open_encoder(str(folder)))
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["bert", "ctc", "whisper"])
def test_an_adapter_beside_a_model_is_refused(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(name), tmp_path / "mine"))
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UpstreamError, match=r"adapter_config.json is an adapter \(peft\) .*merge_and_unload\(\)"):
        open_encoder(str(folder)) if name == "bert" else SpeechRecogniser(str(folder), "cpu")


def test_weights_are_read_as_they_are_in_the_file(bert: Path, tmp_path: Path) -> None:
    """Also where config.json names another number format."""
    folder = Path(shutil.copytree(bert, tmp_path / "mine"))
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "dtype": "float16"}))
    found = TextEncoder(open_encoder(str(folder))).model.state_dict()
    expected = BertModel.from_pretrained(bert, dtype=torch.float32).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_what_sentence_transformers_would_compute_besides_is_named(bert: Path, tmp_path: Path, caplog) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "mine"))
    kinds = [f"sentence_transformers.models.{kind}" for kind in ("Transformer", "Pooling", "Normalize")]
    (folder / "modules.json").write_text(json.dumps([{"idx": n, "type": kind} for n, kind in enumerate(kinds)]))
    with caplog.at_level("INFO"):
        open_encoder(str(folder))
    assert "modules.json: left out, no part of the encoder: Normalize, Pooling" in caplog.text
    (folder / "modules.json").write_text("{")
    open_encoder(str(folder))


@pytest.mark.parametrize("name", ["ctc", "whisper"])
def test_a_recogniser_under_a_prefix_and_with_more_beside_it(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = request.getfixturevalue(name)
    waveform = np.random.default_rng(0).normal(size=8000).astype(np.float32) * 0.1
    expected = SpeechRecogniser(str(source), "cpu")
    folder = _saved(source, tmp_path / "mine", lambda state: {"state_dict": {**_under("module.", state), **HEAD}})
    found = SpeechRecogniser(str(folder), "cpu")
    assert found.transcribe([waveform]) == expected.transcribe([waveform])
    own = found._model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in expected._model.state_dict().items())


def test_letters_of_one_language_for_weights_of_another_are_refused(ctc: Path, tmp_path: Path) -> None:
    """As MMS has them: adapters of languages beside the model, and letters of each in one file."""
    folder = Path(shutil.copytree(ctc, tmp_path / "mms"))
    model = AutoModelForCTC.from_pretrained(ctc)
    model.config.adapter_attn_dim = 4
    torch.manual_seed(0)
    model = type(model)(model.config)
    model.save_pretrained(folder)
    words = json.loads((ctc / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({"eng": words, "deu": words}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), target_lang="deu")
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(do_normalize=True), tokenizer).save_pretrained(folder)
    SpeechRecogniser(str(folder), "cpu")
    adapter = {name: value.clone() for name, value in model._get_adapters().items()}
    save_file(adapter, folder / "adapter.deu.safetensors")
    SpeechRecogniser(str(folder), "cpu")
    save_file({name: value + 1 for name, value in adapter.items()}, folder / "adapter.deu.safetensors")
    with pytest.raises(UpstreamError, match=r"its tokenizer writes 'deu', .*target_lang='deu'"):
        SpeechRecogniser(str(folder), "cpu")
