"""A text encoder: the mean over its tokens, what is cut, and what it cannot be loaded from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from s3prl_emotion.errors import ConfigError, UpstreamError
from s3prl_emotion.text import encoder as encoding
from s3prl_emotion.text.encoder import FrozenTexts, TextEncoder, masked_mean, stored_texts
from s3prl_emotion.text.loading import open_encoder

TEXTS = ["the lamp", "no", "i wonder what this is about", ""]


def test_masked_mean_by_hand() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [float("nan"), 9.0]], [[5.0, 5.0], [7.0, 7.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert masked_mean(states, mask).tolist() == [[2.0, 4.0], [7.0, 7.0]]


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_padded_is_unpadded(name: str, request: pytest.FixtureRequest) -> None:
    opened = open_encoder(str(request.getfixturevalue(name)))
    encoder = TextEncoder(opened).eval()
    tokens = [opened.tokens(text)[0] for text in TEXTS]
    together = encoder(tokens)
    for row, ids in zip(together, tokens, strict=True):
        torch.testing.assert_close(row, encoder([ids])[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_it_is_the_mean_of_transformers_own_states_special_tokens_included(bert: Path) -> None:
    opened = open_encoder(str(bert))
    ids = opened.tokens("the lamp")[0]
    assert [opened.tokenizer.convert_ids_to_tokens(ids)[place] for place in (0, -1)] == ["[CLS]", "[SEP]"]
    states = BertModel.from_pretrained(bert)(torch.tensor([ids])).last_hidden_state
    torch.testing.assert_close(TextEncoder(opened).eval()([ids])[0], states[0].mean(dim=0))


@pytest.mark.parametrize(("name", "most"), [("bert", 64), ("roberta", 64)])
def test_a_text_of_ten_thousand_words_is_cut_to_what_the_encoder_takes(name, most, request) -> None:
    """RoBERTa's 66 positions begin after its padding token."""
    opened = open_encoder(str(request.getfixturevalue(name)))
    ids, whole = opened.tokens("a " * 10_000)
    assert opened.max_tokens == most == len(ids)
    assert whole >= 10_002
    assert ids[-1] == opened.tokens("a")[0][-1], "the token at the end stays"
    assert bool(TextEncoder(opened).eval()([ids]).isfinite().all())
    assert len(open_encoder(str(request.getfixturevalue(name)), max_tokens=5).tokens("a " * 10)[0]) == 5


def test_more_tokens_than_it_takes_are_refused(bert: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_tokens is 65, and .* takes at most 64"):
        open_encoder(str(bert), max_tokens=65)


def test_loading_leaves_the_random_state_alone(bert: Path) -> None:
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    TextEncoder(open_encoder(str(bert)))
    assert torch.equal(torch.randn(2), expected)


def test_stored_states_are_those_computed_and_computed_once(bert: Path, tmp_path: Path, monkeypatch) -> None:
    opened, device = open_encoder(str(bert)), torch.device("cpu")
    alone = FrozenTexts(opened)(TEXTS, device)
    stored = stored_texts(opened, [*TEXTS, *TEXTS], tmp_path, "cpu")
    assert len(stored.store) == len(TEXTS)
    monkeypatch.setattr(FrozenTexts, "compute", lambda *_: pytest.fail("computed again"))
    assert torch.equal(stored([*TEXTS, TEXTS[0]], device)[:-1], alone)
    monkeypatch.undo()
    count = len(list(stored.store.folder.glob("data-*.bin")))
    again = stored_texts(open_encoder(str(bert)), TEXTS, tmp_path, "cpu")
    assert again.store.folder == stored.store.folder
    assert len(list(again.store.folder.glob("data-*.bin"))) == count
    assert encoding.tokens_key([1, 2]) != encoding.tokens_key([1, 2, 0])


def test_another_encoder_has_a_store_of_its_own(bert: Path, roberta: Path, tmp_path: Path) -> None:
    folders = {stored_texts(open_encoder(str(path)), TEXTS, tmp_path, "cpu").store.folder for path in (bert, roberta)}
    assert len(folders) == 2


def _spoiled(bert: Path, folder: Path, **changes: object) -> Path:
    shutil.copytree(bert, folder)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))
    return folder


def test_what_cannot_be_a_text_encoder(bert, ctc, whisper, tiny_hubert, tmp_path) -> None:
    for folder in (tiny_hubert, ctc, whisper):
        with pytest.raises(UpstreamError, match="is no text encoder"):
            open_encoder(str(folder))
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(UpstreamError, match="'gpt2' is no text encoder"):
        open_encoder(str(tmp_path / "gpt2"))
    with pytest.raises(UpstreamError, match="no such folder"):
        open_encoder(str(tmp_path / "nowhere"))
    bare = shutil.copytree(bert, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    with pytest.raises(UpstreamError, match="tokenizer's files are missing"):
        open_encoder(str(bare))
    (bare / "tokenizer.json").write_text("{")
    with pytest.raises(UpstreamError, match="the tokenizer cannot be read"):
        open_encoder(str(bare))
    code = shutil.copytree(bert, tmp_path / "code")
    settings = json.loads((code / "tokenizer_config.json").read_text())
    (code / "tokenizer_config.json").write_text(json.dumps({**settings, "auto_map": {"AutoTokenizer": ["t.T", None]}}))
    with pytest.raises(UpstreamError, match="code beside it"):
        open_encoder(str(code))
    with pytest.raises(UpstreamError, match=r"tokenizer has .* tokens, the encoder 20"):
        open_encoder(str(_spoiled(bert, tmp_path / "small", vocab_size=20)))


def test_weights_that_do_not_fit(bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(bert, tmp_path / "lacking")
    state = load_file(folder / "model.safetensors")
    state.pop("bert.encoder.layer.1.output.dense.weight")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UpstreamError, match=r"1 missing: encoder.layer.1.output.dense.weight"):
        TextEncoder(open_encoder(str(folder)))


def test_a_pickle_is_not_executed(bert: Path, tmp_path: Path) -> None:
    import pickle

    class Payload:
        def __reduce__(self):
            return np.save, (str(tmp_path / "EXECUTED"), 1)

    folder = shutil.copytree(bert, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Payload()}))
    with pytest.raises(UpstreamError, match="nothing was executed"):
        open_encoder(str(folder))
    assert not list(tmp_path.glob("EXECUTED*"))


def test_names_of_older_files_are_read(bert: Path, tmp_path: Path) -> None:
    """As BERT's own weights have them: gamma and beta, positions, a pooler and what was only for pretraining."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(bert, tmp_path / "older")
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(bert / "model.safetensors").items()
    }
    state |= {"bert.embeddings.position_ids": torch.arange(64)[None], "cls.seq_relationship.weight": torch.zeros(2, 16)}
    state["bert.pooler.dense.weight"] = torch.zeros(16, 16)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    opened, older = open_encoder(str(bert)), open_encoder(str(folder))
    ids = opened.tokens("the lamp")[0]
    assert torch.equal(TextEncoder(opened).eval()([ids]), TextEncoder(older).eval()([ids]))


def test_weights_that_execute_code_are_read_when_trusted(bert: Path, tmp_path: Path) -> None:
    """As for upstreams: ``--trust-checkpoint``, and nothing else, lets a pickle be one."""
    from safetensors.torch import load_file

    from s3prl_emotion.upstreams.trust import trusted_checkpoints

    folder = shutil.copytree(bert, tmp_path / "old")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**state, "cls.note": _Tensor()}, folder / "pytorch_model.bin")
    with pytest.raises(UpstreamError, match="refused"):
        open_encoder(str(folder))
    with trusted_checkpoints(True):
        assert TextEncoder(open_encoder(str(folder))).eval()([[2, 5, 3]]).shape == (1, 16)


class _Tensor:
    """Unpickled by a call of its own."""

    def __reduce__(self):
        return torch.full, ((1,), 0.0)
