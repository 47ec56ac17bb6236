"""Forms in which trainings save a complete encoder: each is loaded as transformers loads the plain one, or refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from safetensors.torch import save_file
from spoiling import WEIGHTS, build, change
from torch import Tensor, nn
from transformers import AutoFeatureExtractor, AutoModel

import s3prl_emotion
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.metadata import facts

FAMILIES = ("wav2vec2", "hubert-group", "hubert-layer", "wavlm", "whisper", "wav2vec2-bert")
State = dict[str, Tensor]


@pytest.fixture(scope="module", autouse=True)
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    s3prl_emotion.register()
    folder = tmp_path_factory.mktemp("good")
    return {family: tiny.make(family, folder) for family in FAMILIES}


def noise() -> Tensor:
    return torch.randn(16000, generator=torch.Generator().manual_seed(0))


def by_transformers(model: Any, folder: Path) -> tuple[Tensor, ...]:
    """The states of a model as transformers loaded it; the last one after the final normalisation."""
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    given = extractor([noise().numpy()], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(**given, output_hidden_states=True)
    return (*output.hidden_states[:-1], output.last_hidden_state)


def check_same(upstream: Any, expected: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        found = upstream.eval()([noise()])["hidden_states"]
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=2e-5), (ours - theirs).abs().max()


def encoder_of(folder: Path) -> Any:
    model = AutoModel.from_pretrained(folder)
    return model.get_encoder() if model.config.model_type == "whisper" else model


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}{name}": value.clone() for name, value in state.items()}


HEAD = {"fc.weight": torch.zeros(4, 16), "head.0.bias": torch.zeros(4), "cls.w": torch.zeros(2)}
FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    **{
        f"under {prefix}": lambda state, prefix=prefix: under(prefix, state)
        for prefix in ("module.", "_orig_mod.", "model.", "backbone.", "_orig_mod.module.", "model.backbone.", "0.")
    },
    "own heads": lambda state: {**state, **HEAD},
    "own heads under module.": lambda state: under("module.", {**state, **HEAD}),
    "a part of a larger model": lambda state: {**under("speech.", state), **HEAD, "text.w": torch.zeros(2)},
    "a head with an encoder's name": lambda state: {
        **under("upstream.", state),
        "feature_extractor.weight": torch.zeros(2, 2),
        "encoder.weight": torch.zeros(2),
    },
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}, "loss": 0.5},
    "model": lambda state: {"model": under("module.", state), "step": 7},
    "Lightning": lambda state: {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {**under("model.encoder.", state), "model.head.weight": torch.zeros(4, 16)},
        "loops": {},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}],
        "hyper_parameters": {"lr": 1e-4},
    },
    "DeepSpeed": lambda state: {"module": under("module.", state), "buffer_names": [], "dp_world_size": 2},
    "FSDP": lambda state: {
        "_fsdp_wrapped_module."
        + name.replace("layers.1.", "layers.1._fsdp_wrapped_module._checkpoint_wrapped_module."): value
        for name, value in state.items()
    },
    "the encoder compiled": lambda state: {
        name.replace("encoder.layers", "encoder._orig_mod.layers"): value for name, value in state.items()
    },
    "the names of older torch": lambda state: {
        f"model.{name}".replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in state.items()
    },
    "the same twice": lambda state: {**under("model.", state), **under("encoder_of_loss.", state)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_complete_encoder_is_found(good, tmp_path, family: str, form: str) -> None:
    """In the folder's own file, and as a file beside the folder; what is listed without loading agrees."""
    from s3prl import hub

    folder = tmp_path / "mine"
    shutil.copytree(good[family], folder)
    encoder = encoder_of(folder)
    expected = by_transformers(encoder, folder)
    whole = AutoModel.from_pretrained(folder)
    content = FORMS[form](dict(whole.state_dict()))
    torch.save(content, tmp_path / "trained.ckpt")
    check_same(hub.hf_auto_custom(ckpt=str(tmp_path / "trained.ckpt"), model_config=str(folder)), expected)
    known = facts(folder)
    (folder / WEIGHTS).unlink()
    torch.save(content, folder / "pytorch_model.bin")
    check_same(build(folder), expected)
    assert facts(folder) == known


@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder.", "module.encoder.", "module."])
def test_a_whisper_encoder_alone(good, tmp_path, prefix: str) -> None:
    folder = tmp_path / "whisper"
    shutil.copytree(good["whisper"], folder)
    encoder = encoder_of(folder)
    expected = by_transformers(encoder, folder)
    if prefix:
        (folder / WEIGHTS).unlink()
        torch.save(under(prefix, encoder.state_dict()), folder / "pytorch_model.bin")
    else:
        encoder.save_pretrained(folder)
    check_same(build(folder), expected)


CLASSES = sorted(
    name
    for name in dir(transformers)
    if name.endswith(("ForXVector", "ForAudioFrameClassification", "ForSequenceClassification", "ForCTC"))
    and name.startswith(("Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio", "UniSpeech", "SEW"))
)
CLASSES += ["Wav2Vec2ForPreTraining", "UniSpeechForPreTraining", "UniSpeechSatForPreTraining"]
CLASSES += ["WhisperForConditionalGeneration", "WhisperForAudioClassification"]


def test_every_class_with_a_head_is_among_them() -> None:
    assert {name for name in CLASSES if name.endswith("ForXVector")} == {
        f"{kind}ForXVector"
        for kind in ("Data2VecAudio", "UniSpeechSat", "Wav2Vec2", "Wav2Vec2Bert", "Wav2Vec2Conformer", "WavLM")
    }


@pytest.mark.parametrize("name", CLASSES)
def test_a_model_of_transformers_with_a_head(tmp_path, caplog, name: str) -> None:
    """The head is named in one line, and the states are those of transformers' own model under it."""
    kind = getattr(transformers, name)
    small = {**tiny.SIZE, "vocab_size": 12, "layerdrop": 0.0, "mask_time_prob": 0.0}
    small |= {"tdnn_dim": (8, 8), "tdnn_kernel": (3, 1), "tdnn_dilation": (1, 1), "xvector_output_dim": 8}
    small |= {"use_weighted_layer_sum": True, "classifier_proj_size": 8, "codevector_dim": 8, "proj_codevector_dim": 8}
    small |= {"num_codevectors_per_group": 4, "replace_prob": 0.0}
    if name.startswith("Whisper"):
        config: Any = AutoModel.from_pretrained(tiny.whisper(tmp_path / "w")).config
        config.use_weighted_layer_sum = True
        extractor: Any = tiny.WhisperFeatureExtractor(chunk_length=1)
    elif name.startswith("Wav2Vec2Bert"):
        config = kind.config_class(**small, feature_projection_input_dim=160)
        extractor = tiny.SeamlessM4TFeatureExtractor()
    else:
        convolutions = 13 if name.startswith("SEW") else 7
        config = kind.config_class(**{**tiny.CONV, **small, "conv_dim": (8,) * convolutions})
        extractor = tiny.Wav2Vec2FeatureExtractor(do_normalize=True)
    torch.manual_seed(0)
    folder = tiny.save(kind(config), extractor, tmp_path / "mine")
    loaded = kind.from_pretrained(folder)
    base = getattr(loaded, loaded.base_model_prefix, None)
    if name.startswith("Whisper"):
        base = loaded.get_encoder()
    expected = by_transformers(base, folder)
    if name.startswith("SEW"):  # its blocks have a lower rate than it gives on
        expected = tuple(by_transformers_sew(base, folder))
    with caplog.at_level("INFO"):
        check_same(build(folder), expected)
    lines = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(lines) == 1
    assert any(part in lines[0] for part in ("classifier", "lm_head", "quantizer", "decoder", "project_q"))


def by_transformers_sew(model: nn.Module, folder: Path) -> tuple[Tensor, ...]:
    given = AutoFeatureExtractor.from_pretrained(folder)([noise().numpy()], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        return tuple(model.eval()(**given, output_hidden_states=True).hidden_states)


def _bin(folder: Path, state: Any) -> None:
    (folder / WEIGHTS).unlink(missing_ok=True)
    torch.save(state, folder / "pytorch_model.bin")


K_PROJ = {
    "whisper": "encoder.layers.1.self_attn.k_proj.weight",
    "wav2vec2-bert": "encoder.layers.1.self_attn.linear_k.weight",
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "_orig_mod.module."])
def test_what_lacks_a_tensor_of_the_encoder_is_refused(good, tmp_path, family: str, prefix: str) -> None:
    """No encoder weight is drawn at random, whatever is before its name."""
    folder = tmp_path / "mine"
    shutil.copytree(good[family], folder)
    state = dict(AutoModel.from_pretrained(folder).state_dict())
    state.pop(K_PROJ.get(family, "encoder.layers.1.attention.k_proj.weight"))
    _bin(folder, {**under(prefix, state), **HEAD})
    for look in (build, facts):
        with pytest.raises(UpstreamError, match=r"the weights do not fit. 1 missing: [\w.]*layers\.1\.\w+\.\w*k\w*\.w"):
            look(folder)


def _two(state: State) -> State:
    return {**under("student.", {name: value + 1 for name, value in state.items()}), **under("teacher.", state)}


WRONG: dict[str, tuple[Callable[[State], Any], str]] = {
    "two encoders": (_two, "holds 2 such models with different weights, under 'student.' and 'teacher.'"),
    "weights under two keys": (
        lambda state: {"state_dict": state, "model": state},
        "holds weights under state_dict and model",
    ),
    "of another kind": (lambda state: under("wav2vec2.", state), "as those of a 'wav2vec2' do, and its config.json is"),
    "of another kind under a prefix": (
        lambda state: under("module.wavlm.", state),
        "as those of a 'wavlm' do, and its config.json is of a 'hubert'",
    ),
    "a block more": (
        lambda state: {
            **state,
            **{n.replace("layers.1.", "layers.2."): v for n, v in state.items() if "layers.1." in n},
        },
        "16 surplus: encoder.layers.2.attention.k_proj.bias",
    ),
    "a part of the encoder more": (
        lambda state: under("backbone.", {**state, "encoder.layers.0.gate": torch.zeros(2)}),
        "1 surplus: encoder.layers.0.gate",
    ),
    "more under the model's own prefix": (
        lambda state: under("hubert.", {**state, "extra.w": torch.zeros(2)}),
        "1 surplus: extra.w",
    ),
    "another shape under a prefix": (
        lambda state: under("module.", {**state, "encoder.layer_norm.weight": torch.zeros(3)}),
        "1 of another shape: encoder.layer_norm.weight (file (3,), model (16,))",
    ),
    "not finite": (
        lambda state: under("module.", {**state, "encoder.layer_norm.bias": torch.full((16,), torch.nan)}),
        "encoder.layer_norm.bias holds values that are not finite",
    ),
    "a tensor under its older name too": (
        lambda state: {**state, "encoder.pos_conv_embed.conv.weight_g": torch.zeros(1, 1, 16)},
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0 is there twice, under an older name too",
    ),
    **{
        f"numbers of {kind}": (
            lambda state, kind=kind: {
                **state,
                "encoder.layer_norm.bias": state["encoder.layer_norm.bias"].to(getattr(torch, kind)),
            },
            f"encoder.layer_norm.bias is of {kind}, expected floating-point numbers of 16 bits or more",
        )
        for kind in ("int8", "int16", "int32", "int64", "bool", "float8_e4m3fn", "complex64")
    },
    "an adapter beside its base": (
        lambda state: {**state, "encoder.layers.0.attention.q_proj.lora_A.default.weight": torch.zeros(2, 16)},
        "is of an adapter (peft), which is not loaded. Merge it",
    ),
    "an adapter": (
        lambda _: {"base_model.model.encoder.layers.0.attention.q_proj.lora_A.weight": torch.zeros(2, 16)},
        "is of an adapter (peft), which is not loaded. Merge it into its base where peft is installed, and save that: "
        "model.merge_and_unload()",
    ),
    "nothing": (lambda _: {}, "expected names and tensors only, found keys (none)"),
    "an optimiser alone": (
        lambda _: {"optimizer": {"state": {}}, "epoch": 1},
        "expected names and tensors only, found keys optimizer, epoch",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_such_encoder_is_refused(good, tmp_path, case: str) -> None:
    spoil, message = WRONG[case]
    folder = tmp_path / "mine"
    shutil.copytree(good["hubert-layer"], folder)
    _bin(folder, spoil(dict(AutoModel.from_pretrained(folder).state_dict())))
    with pytest.raises(UpstreamError) as caught:
        build(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_tensor_in_two_parts_is_refused(good, tmp_path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(good["hubert-layer"], folder)
    state = dict(AutoModel.from_pretrained(folder).state_dict())
    (folder / WEIGHTS).unlink()
    first, name = sorted(state)[:2]
    save_file(state, folder / "part-1.safetensors")
    save_file({first: state[first] + 1}, folder / "part-2.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        f'{{"weight_map": {{"{name}": "part-1.safetensors", "{first}": "part-2.safetensors"}}}}'
    )
    with pytest.raises(UpstreamError, match=f"part-2.safetensors: {first} is in another part too"):
        build(folder)


@pytest.mark.parametrize("form", ["module.", "model.speech.", "state_dict"])
def test_torchaudios_models_in_other_forms(tmp_path, form: str) -> None:
    path = tiny.make("torchaudio-layer", tmp_path)
    expected = build(path).eval()([noise()])["hidden_states"]
    known = facts(path)

    def wrapped(content: dict[str, Any]) -> None:
        state = dict(content)
        content.clear()
        content.update({"state_dict": state} if form == "state_dict" else {**under(form, state), **HEAD})

    change(path, wrapped)
    found = build(path).eval()([noise()])["hidden_states"]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert facts(path) == known


def test_torchaudios_model_twice_is_refused(tmp_path) -> None:
    path = tiny.make("torchaudio-layer", tmp_path)
    change(path, lambda content: content.update(under("teacher.", content)))
    with pytest.raises(UpstreamError, match=r"holds 2 encoders, under '' and 'teacher\.'"):
        build(path)


def test_what_is_said_of_speechbrains_files_is_true(good, tmp_path) -> None:
    """The folder and the file each lead to a call that works: weights beside the folder of their base."""
    from s3prl import hub

    base = good["wav2vec2"]
    folder = tmp_path / "speechbrain"
    folder.mkdir()
    torch.save(under("model.", AutoModel.from_pretrained(base).state_dict()), folder / "wav2vec2.ckpt")
    (folder / "hyperparams.yaml").write_text("wav2vec2: !new:speechbrain.lobes.Wav2Vec2\n")
    with pytest.raises(UpstreamError) as caught:
        build(folder)
    assert f"-u FOLDER -k {folder / 'wav2vec2.ckpt'}" in str(caught.value)
    with pytest.raises(UpstreamError, match="give both: -u FOLDER -k FILE"):
        build(folder / "wav2vec2.ckpt")
    (folder / "config.json").write_text('{"speechbrain_interface": "EncoderClassifier"}')
    with pytest.raises(UpstreamError) as caught:
        build(folder)
    assert f"-u FOLDER -k {folder / 'wav2vec2.ckpt'}" in str(caught.value)
    upstream = hub.hf_auto_custom(ckpt=str(folder / "wav2vec2.ckpt"), model_config=str(base))
    check_same(upstream, by_transformers(encoder_of(base), base))
