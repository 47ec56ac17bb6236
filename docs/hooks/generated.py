"""What the pages take from the code when the site is built: a line ``<!-- generated: NAME -->`` becomes that text.

Every public function below is such a NAME, so a head, corpus, protocol, pooling, shim or option that is added to the
code is in the documentation, in the words that the code has for it.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parents[2]
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for every page."""

    def text(match: re.Match[str]) -> str:
        if match[1] not in GENERATED:
            raise PluginError(f"{page.file.src_uri}: nothing is generated as {match[1]!r}. Known: {sorted(GENERATED)}")
        return GENERATED[match[1]]()

    return _MARK.sub(text, markdown)


def readme() -> str:
    """README.md, whose links start at the project's folder."""
    return _from_the_top("README.md")


def contributing() -> str:
    return _from_the_top("CONTRIBUTING.md")


def changelog() -> str:
    return _from_the_top("CHANGELOG.md")


def heads() -> str:
    """The shipped configurations side by side."""
    from s3prl_emotion.s3prl_runner.registration import downstream_configs

    rows = []
    for name, path in downstream_configs().items():
        text = Path(path).read_text(encoding="utf-8")
        config = yaml.safe_load(text)
        runner, optimizer, expert = config["runner"], config["optimizer"], config["downstream_expert"]
        model = expert["modelrc"]
        batches = f"{expert['datarc']['train_batch_size']} × {runner['gradient_accumulate_steps']}"
        rows.append(
            [
                f"`{name}`",
                _pooling(model),
                _part(model["objective"]) if "objective" in model else "cross_entropy",
                "none" if model["projector_dim"] is None else model["projector_dim"],
                batches,
                f"{optimizer['torch_optim_name']} {optimizer['lr']:g}",
                runner.get("total_steps") or f"{runner['epochs']} epochs",
            ]
        )
    return _table(["`-d`", "pooling", "objective", "projection", "batch", "optimiser", "steps"], rows)


def _pooling(model: dict[str, Any]) -> str:
    """What becomes one vector."""
    pooling = _part(model["pooling"]) if "pooling" in model else str(model["UtteranceLevel"]["pooling"])
    text = model.get("text")
    if text is None:
        return pooling
    return f"{pooling}, and text" if text.get("speech", True) else "text alone"


def head_sources() -> str:
    """What each configuration says about itself."""
    from s3prl_emotion.s3prl_runner.registration import downstream_configs

    entries = []
    for name, path in downstream_configs().items():
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        comment = [line.removeprefix("#").strip() for line in lines[: lines.index("")]]
        entries.append(f"- `{name}`: {' '.join(comment)}")
    return "\n".join(entries)


def corpora() -> str:
    """Every corpus with its facts."""
    from s3prl_emotion.corpora import corpora as registry

    rows = []
    for name in registry.names():
        corpus = registry.get(name)
        facts = {
            "utterances": corpus.count,
            "classes": len(corpus.labels),
            "speakers": corpus.speaker_count,
            "folds": corpus.folds,
        }
        size = ", ".join(f"{number} {what}" for what, number in facts.items() if number)
        rows.append([f"`{name}`", corpus.layout, size, f"`{corpus.default_protocol}`", corpus.licence])
    return _table(["`--corpus`", "what `--data` names", "complete copy", "protocol", "licence"], rows)


def corpus_options() -> str:
    """What ``--corpus-option`` may name."""
    from s3prl_emotion.corpora import corpora as registry

    chosen = [(name, registry.get(name).options) for name in registry.names()]
    rows = [[f"`{name}`", ", ".join(f"`{option}`" for option in options)] for name, options in chosen if options]
    return _table(["`--corpus`", "options"], rows)


def table_columns() -> str:
    from s3prl_emotion.corpora._columns import OPTIONAL, REQUIRED, SOFT

    listed = [", ".join(f"`{name}`" for name in names) for names in (REQUIRED, (*OPTIONAL, f"{SOFT}<label>"))]
    return f"Required columns are {listed[0]}; optional ones {listed[1]}."


def disturbances() -> str:
    """Effects that ``evaluate --with`` takes, with the option that names their levels."""
    from s3prl_emotion.audio.augmentation import effects as registry
    from s3prl_emotion.audio.conditions import LEVELS

    rows = []
    for name in registry.names():
        option, parameter, usual = LEVELS.get(name, ("", "", ()))
        levels = ", ".join(f"{level:g}" for level in usual)
        rows.append([f"`{name}`", f"`--{option}`" if option else "", f"`{parameter}`" if parameter else "", levels])
    return _table(["`--with`", "levels", "which are", "if not given (ours)"], rows)


def attributes() -> str:
    """What each corpus tells of its utterances besides."""
    from s3prl_emotion.corpora import corpora as registry

    told = [(name, registry.get(name).attributes) for name in registry.names()]
    rows = [[f"`{name}`", ", ".join(f"`{attribute}`" for attribute in found)] for name, found in told if found]
    return _table(["`--corpus`", "attributes"], rows)


def protocols() -> str:
    """Every protocol, in the words of its record."""
    from s3prl_emotion.corpora import corpora as known_corpora
    from s3prl_emotion.protocols import protocols as registry

    defaults: dict[str, list[str]] = {}
    for name in known_corpora.names():
        defaults.setdefault(known_corpora.get(name).default_protocol, []).append(f"`{name}`")
    rows = []
    for name in registry.names():
        protocol = registry.get(name)
        by = {"accuracy": "WA", "ua": "UA", "macro_f1": "macro-F1"}[protocol.selection]
        if not protocol.transductive:
            part = "test" if protocol.selection_on_test else "dev"
            rows.append([f"`{name}`", protocol.folds, protocol.dev, f"{part} {by}", ", ".join(defaults.get(name, []))])
    found = [registry.get(name) for name in registry.names()]
    transductive = [f"- `{item.name}`: {item.description}" for item in found if item.transductive]
    table = _table(["`--protocol`", "test", "dev", "checkpoint chosen by", "default of"], rows)
    return "\n\n".join([table, "\n".join(transductive)])


def shims() -> str:
    """Every shim with its reason."""
    from s3prl_emotion.s3prl_runner import shims as module

    rows = [[f"`{shim.__name__.lstrip('_')}`", _first_line(shim)] for shim in module.SHIMS]
    return _table(["shim", "reason"], rows)


def commands() -> str:
    """Every command with its options, from the command line's own parsers."""
    from s3prl_emotion.cli import COMMANDS

    parts = []
    for name, text in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"s3prl-emotion {name}", add_help=False)
        importlib.import_module(f"s3prl_emotion.cli.{name}").add_arguments(parser)
        parts.append(f"## `{name}`\n\n{text[0].upper()}{text[1:]}.\n\n{_options(parser)}")
    return "\n\n".join(parts)


def poolings() -> str:
    from s3prl_emotion.pooling import poolings as registry

    return _objects(registry.get(name) for name in registry.names())


def objectives() -> str:
    from s3prl_emotion.downstream.objectives import objectives as registry

    return _objects(registry.get(name) for name in registry.names())


def classifiers() -> str:
    """Every classifier with its grid."""
    from s3prl_emotion.classical import classifiers as registry

    rows = []
    for name in registry.names():
        found = registry.get(name)
        grid = "; ".join(f"`{key}` {', '.join(map(str, values))}" for key, values in found.grid.items())
        rows.append([f"`{name}`", found.title, grid, f"`{found.distributions[0]}`"])
    return _table(["name", "", "grid", "package"], rows)


def studies() -> str:
    """Every study with its question."""
    from s3prl_emotion.experiment.studies import studies as registry

    return _table(["`NAME`", "question"], [[f"`{name}`", registry.get(name).question()] for name in registry.names()])


def effects() -> str:
    from s3prl_emotion.audio.augmentation import effects as registry

    return _objects(registry.get(name) for name in registry.names())


def corpus_readers() -> str:
    from s3prl_emotion.corpora import corpora as registry

    modules = dict.fromkeys(registry.get(name).reader.__module__ for name in registry.names())
    return "\n\n".join(f"::: {module}\n    options: {{members: false}}" for module in modules)


def adapters() -> str:
    """Our ``-u`` names; griffe finds their files at the top level of the checkout."""
    from s3prl_emotion.s3prl_runner.upstream_registry import upstreams

    return _objects(upstreams().values()).replace("::: s3prl_emotion.upstream_patches", "::: upstream_patches")


GENERATED: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        readme,
        contributing,
        changelog,
        heads,
        head_sources,
        corpora,
        corpus_options,
        table_columns,
        disturbances,
        attributes,
        protocols,
        shims,
        effects,
        commands,
        poolings,
        objectives,
        classifiers,
        studies,
        corpus_readers,
        adapters,
    )
}


def _from_the_top(name: str) -> str:
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for other in ("CONTRIBUTING", "CHANGELOG"):
        text = text.replace(f"]({other}.md", f"]({other.lower()}.md")
    return text.replace("](README.md", "](index.md")


def _part(options: dict[str, Any]) -> str:
    """A pooling or objective with its options: ``attention (heads 4)``."""
    words = ", ".join(f"{key} {value}" for key, value in options.items() if key != "name")
    return f"`{options['name']}`" + (f", {words}" if words else "")


def _objects(found: Iterable[Any]) -> str:
    return "\n\n".join(f"::: {item.__module__}.{item.__qualname__}" for item in found)


def _options(parser: argparse.ArgumentParser) -> str:
    """One table for each group of options that has any."""
    formatter = parser._get_formatter()
    parts = []
    for group in parser._action_groups:
        rows = []
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction):
                parts += [f"### `{part.prog}`\n\n{part.description}\n\n{_options(part)}" for part in _parts_of(action)]
                continue
            if action.help == argparse.SUPPRESS:
                continue
            value = formatter._format_args(action, action.dest.upper()) if action.nargs != 0 else ""
            if not action.option_strings:
                names = f"`{formatter._format_args(action, action.dest)}`"
            else:
                names = ", ".join(f"`{name} {value}`" if value else f"`{name}`" for name in action.option_strings)
            default = "" if action.default in (None, False) else f"default: {action.default}"
            rows.append([names, formatter._expand_help(action) if action.help else default])
        if rows:
            title = "" if group.title in ("positional arguments", "options", "optional arguments") else group.title
            parts.append((f"**{title}**\n\n" if title else "") + _table(["option", ""], rows))
    return "\n\n".join(parts)


def _parts_of(action: Any) -> list[argparse.ArgumentParser]:
    """The parsers below a command, without their own help."""
    parts = list(action.choices.values())
    for part in parts:
        part._optionals._group_actions = [item for item in part._optionals._group_actions if item.dest != "help"]
    return parts


def _first_line(function: Any) -> str:
    return str(function.__doc__).strip().splitlines()[0].replace("``", "`")


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Outside of code nothing ends a cell, begins a tag or is emphasis."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"[|<*_]", lambda match: f"&#{ord(match[0])};", part) for part in parts[::2]]
    return "`".join(parts)
