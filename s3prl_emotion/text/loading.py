"""A text encoder in transformers format: found, checked, and loaded without executing anything."""

from __future__ import annotations

import contextlib
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import MODEL_FOR_MASKED_LM_MAPPING, MODEL_MAPPING, AutoTokenizer

from s3prl_emotion.config import shown
from s3prl_emotion.corpora.manifest import MAX_SAID
from s3prl_emotion.errors import ConfigError, RunError, UpstreamError
from s3prl_emotion.files import checkpoint_sha256, parse_json
from s3prl_emotion.upstreams.files import check_numbers, misfit, say_left_out
from s3prl_emotion.upstreams.hub import TOKENIZER_FILES, is_hub_id, snapshot, snapshot_source
from s3prl_emotion.upstreams.pretrained import filled, first_line, quiet, read_settings, skeleton
from s3prl_emotion.upstreams.reference import UpstreamOrigin
from s3prl_emotion.upstreams.trust import reading_upstream
from s3prl_emotion.upstreams.weights import own_part, read_weights, weight_files

VOCABULARIES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "spm.model"),
    *("sentencepiece.bpe.model", "bpe.codes"),
)
"""Files that tokenizers keep their words in: one of them must be there."""
_OF_TOKENIZER = frozenset(
    {*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt"}
)
_MOST_BYTES = 64 << 20  # of each; those of a quarter of a million tokens have 35 MB
TEXT_ENCODER = "text encoder"
_UNUSED = ("pooler", "lm_head", "cls", "classifier", "predictions", "generator_", "discriminator_", "vocab_", "head")
"""Beginnings of the names of what sits on a text encoder, or is computed after its last hidden state."""


@dataclass(frozen=True)
class TextSource:
    """A text encoder that was found: what is needed to make tokens, and to load it when states are wanted."""

    source: UpstreamOrigin  # with the SHA-256 of its folder
    config: Any
    tokenizer: Any
    max_tokens: int  # longer texts are cut

    @property
    def name(self) -> str:
        """For results: the Hub id, or the last part of the path."""
        return name_of(self.source)

    @property
    def width(self) -> int:
        """Channels of a state."""
        return int(self.config.hidden_size)

    def tokens(self, text: str) -> tuple[list[int], int]:
        """Token ids of a text, special ones included, at most ``max_tokens``; and how many there would be uncut.

        Raises:
            RunError: if the text is longer than what one utterance says
        """
        if len(text) > MAX_SAID:
            raise RunError(f"the text {shown(text)} has {len(text)} characters, expected at most {MAX_SAID}")
        with quiet():
            whole = self.tokenizer(text, truncation=False)["input_ids"]
            ids = whole
            if len(whole) > self.max_tokens:
                ids = self.tokenizer(text, truncation=True, max_length=self.max_tokens)["input_ids"]
        return list(ids) or [self.padding], len(whole)

    @property
    def padding(self) -> int:
        """The token that stands for nothing; masked wherever it fills a batch."""
        return int(self.tokenizer.pad_token_id or 0)


def name_of(source: UpstreamOrigin) -> str:
    """A model in results: the Hub id, or the last part of the path."""
    hub = snapshot_source(source.place)
    return hub[0] if hub is not None else Path(source.place).resolve().name


def find_model(model: str, what: str, revision: str | None = None) -> UpstreamOrigin:
    """Where a model of text is: a folder here, or fetched from the Hub; with the SHA-256 of its files.

    Args:
        model: a folder, or a Hub id
        what: it should be, for messages
        revision: a commit, of a Hub id

    Raises:
        UpstreamError: if it is neither
    """
    if is_hub_id(model):
        folder = snapshot(model, revision=revision, further=TOKENIZER_FILES)
    else:
        folder = Path(model).expanduser().absolute()
    if not folder.is_dir():
        raise UpstreamError(
            f"{what} {model}: no such folder; expected one in transformers format (config.json, weights, "
            "tokenizer), or a Hub id, which is written owner/name"
        )
    hub = snapshot_source(str(folder))
    return UpstreamOrigin(model, str(folder), checkpoint_sha256(str(folder)), None if hub is None else hub[1])


def weights_of(folder: Path, peek: bool = False) -> dict[str, Tensor]:
    """Names and tensors of a folder, as those of an upstream are read: ``--trust-checkpoint`` is in force.

    Raises:
        UpstreamError: if there are none, or a file is torn or wants to execute code
    """
    with reading_upstream():
        return read_weights(weight_files(folder), str(folder), peek)


def open_encoder(encoder: str | UpstreamOrigin, max_tokens: int | None = None) -> TextSource:
    """A text encoder's settings and tokenizer, checked; its weights are looked at, and not loaded.

    Args:
        encoder: a folder or Hub id, or what :func:`find_model` gave
        max_tokens: cut texts to so many tokens; None to as many as it takes

    Raises:
        UpstreamError: if it is no text encoder, or a file of it is missing or broken
        ConfigError: if it takes fewer tokens than ``max_tokens``
    """
    source = find_model(encoder, TEXT_ENCODER) if isinstance(encoder, str) else encoder
    folder = Path(source.place)
    config = _text_settings(folder)
    tokenizer = read_tokenizer(folder)
    weights = weights_of(folder, peek=True)
    model = skeleton(folder, config, weights)
    _say_modules(folder)
    if len(tokenizer) > int(config.vocab_size):
        raise UpstreamError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens, the encoder {config.vocab_size}: they are not of "
            "one model. Save both there: model.save_pretrained(...) and tokenizer.save_pretrained(...)"
        )
    most = _longest(model, config, tokenizer)
    if max_tokens is not None and max_tokens > most:
        raise ConfigError(f"text.max_tokens is {max_tokens}, and {source.given} takes at most {most} tokens")
    return TextSource(source, config, tokenizer, max_tokens or most)


def load_encoder(opened: TextSource) -> nn.Module:
    """The encoder in float32 with the weights of its folder, without the pooler that some have after it.

    Raises:
        UpstreamError: if the weights are torn, execute code, or do not fit
    """
    folder = Path(opened.source.place)
    state = weights_of(folder)
    kind = MODEL_MAPPING[type(opened.config)]
    state = own_part(state, skeleton(folder, opened.config, state), str(folder), _UNUSED)
    check_numbers(state, str(folder))
    model, report = filled(kind, opened.config, state, str(folder))
    prefix = f"{kind.base_model_prefix}."

    def needed(names: Any) -> list[str]:
        return [name for name in (str(item).removeprefix(prefix) for item in names) if not name.startswith(_UNUSED)]

    shapes = [f"{name} (file {tuple(given)}, model {tuple(own)})" for name, given, own in report["mismatched_keys"]]
    misfit(
        f"{folder} ({opened.config.model_type})",
        needed(report["missing_keys"]),
        needed(report["unexpected_keys"]),
        shapes,
    )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.float()  # type: ignore[no-any-return]


def _say_modules(folder: Path) -> None:
    """Name what sentence-transformers would compute after the transformer."""
    with contextlib.suppress(OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        modules = parse_json((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        say_left_out(folder / "modules.json", [kind[:50] for kind in kinds if kind != "Transformer"])


def _text_settings(folder: Path) -> Any:
    config = read_settings(folder)
    is_encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_encoder_decoder", False)
    kind = MODEL_MAPPING[type(config)] if is_encoder else None
    takes_tokens = kind is not None and kind.main_input_name == "input_ids" and _masks(kind)
    if not takes_tokens or not hasattr(config, "hidden_size") or getattr(config, "is_decoder", False):
        raise UpstreamError(
            f"{folder}: {config.model_type!r} is no text encoder. Expected a model in which every token sees all "
            f"others, and padding is masked, as transformers has for masked language modelling: bert, roberta, "
            "distilbert, electra, ..."
        )
    return config


def _masks(kind: Any) -> bool:
    """Whether padding can be kept out of every state."""
    return "attention_mask" in inspect.signature(kind.forward).parameters


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder; nothing in it is executed.

    Raises:
        UpstreamError: if its vocabulary is missing, or it cannot be read
    """
    save = f"Save it there: AutoTokenizer.from_pretrained(WHERE IT COMES FROM).save_pretrained({str(folder)!r})"
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise UpstreamError(f"{folder}: the tokenizer's files are missing (none of {', '.join(VOCABULARIES)}). {save}")
    large = [item.name for item in folder.iterdir() if item.name in _OF_TOKENIZER and item.stat().st_size > _MOST_BYTES]
    if large:
        raise UpstreamError(f"{folder / large[0]}: larger than {_MOST_BYTES >> 20} MB, which no tokenizer is. {save}")
    _check_tokenizer(folder / "tokenizer_config.json", save)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            tokenizer("a")
    except Exception as error:  # the tokenizers library, in Rust, raises plain Exceptions
        raise UpstreamError(f"{folder}: the tokenizer cannot be read: {first_line(error)}. {save}") from error
    return tokenizer


def _check_tokenizer(path: Path, save: str) -> None:
    if not path.is_file():
        return
    try:
        given = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UpstreamError(f"{path}: {first_line(error)}. {save}") from error
    if not isinstance(given, dict):
        raise UpstreamError(f"{path}: expected names and values, found {json.dumps(given)[:40]}. {save}")
    longest = given.get("model_max_length")
    if longest is not None and (type(longest) not in (int, float) or not longest >= 1):
        raise UpstreamError(f"{path}: model_max_length is {shown(longest)}, expected a number of 1 or more. {save}")
    if given.get("auto_map") is not None:
        raise UpstreamError(
            f"{path}: refused, because the tokenizer is code beside it (auto_map), which is not executed. {save}"
        )


def _longest(model: nn.Module, config: Any, tokenizer: Any) -> int:
    """Tokens that an encoder has positions for: RoBERTa's begin after its padding token."""
    found = [int(config.max_position_embeddings)] if hasattr(config, "max_position_embeddings") else []
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            found.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    found.append(int(min(tokenizer.model_max_length, 10**9)))
    return min(item for item in found if item > 0)
