"""Rewrite options of the command line in error messages as arguments of ``load``."""

from __future__ import annotations

import re

_OPTIONS = (
    (re.compile(r"(?<![\w-])-k PATH"), "load(..., checkpoint=PATH)"),
    (re.compile(r"(?<![\w-])-g PATH"), "load(..., model_config=PATH)"),
    (re.compile(r"(?<![\w-])-k (?=\S)"), "checkpoint="),
    (re.compile(r"(?<![\w-])-k\b"), "checkpoint"),
    (re.compile(r"(?<![\w-])-g (?=\S)"), "model_config="),
    (re.compile(r"(?<![\w-])-g\b"), "model_config"),
    (re.compile(r"leave -u out"), "leave upstream out"),
    (re.compile(r"(?<![\w-])-u (?=\S)"), "upstream "),
    (re.compile(r"--trust-checkpoint"), "load(..., trust_checkpoint=True)"),
    (re.compile(r"--text-encoder PATH"), "load(..., text_encoder=PATH)"),
    (re.compile(r"--text-encoder (?=\S)"), "text_encoder="),
    (re.compile(r"--fold (?=\S)"), "fold="),
    (re.compile(r"--device (?=\S)"), "device="),
)


def in_python(text: str) -> str:
    """The message with ``-k PATH`` as ``load(..., checkpoint=PATH)``, and the like."""
    for option, argument in _OPTIONS:
        text = option.sub(argument, text)
    return text
