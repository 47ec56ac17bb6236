"""README and site: every command is accepted, those that need no corpus of the user's run, and facts are the code's."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from text.models import tiny_bert, tiny_whisper

from s3prl_emotion.cli import COMMANDS, main

ROOT = Path(__file__).parent.parent
DEMO = ["run", "-u", "fbank", "-d", "emotion_attn_corr", "--demo"]
PRETRAINING_DEMOS = (["pretrain", "flea", "--demo"], ["pretrain", "contrastive", "--demo"])
OTHERS = {"pip install .", "tests/run.sh"}
ELSEWHERE = {"--iskmean"}  # an option of another program
LANGUAGES = {"", "bash", "csv", "python", "text", "py", "toml", "yaml"}  # the last three: tests/test_plugins.py


@dataclass(frozen=True)
class Page:
    """A Markdown file with its blocks of code, as (language, text)."""

    name: str
    text: str
    blocks: tuple[tuple[str, str], ...]

    @property
    def lines(self) -> list[str]:
        """Every line of a block without a language; of shell scripts the lines that call us, as the first job does."""
        plain = [line for language, block in self.blocks if not language for line in block.splitlines() if line]
        scripts = [block.replace("$SLURM_ARRAY_TASK_ID", "1") for language, block in self.blocks if language == "bash"]
        return plain + [line for block in scripts for line in block.splitlines() if _is_command(line)]

    def commands(self, on_a_users_corpus: bool) -> list[str]:
        """Our commands in their order, the whole demos left out."""
        whole = (DEMO, *PRETRAINING_DEMOS)
        found = [line for line in self.lines if _is_command(line) and _arguments(line) not in whole]
        return [line for line in found if ("/path/to" in line) == on_a_users_corpus]


def _is_command(line: str) -> bool:
    return line.startswith(("./run_downstream.sh", "s3prl-emotion"))


def _arguments(line: str) -> list[str]:
    words = shlex.split(line)
    return (["run"] if words[0].startswith("./") else []) + words[1:]


def _page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return Page(path.relative_to(ROOT).as_posix(), text, tuple(blocks))


PAGES = [_page(path) for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]]
BY_NAME = {page.name: page for page in PAGES}
README = BY_NAME["README.md"]
FIRST = next(line for line in BY_NAME["docs/guides/upstream.md"].commands(False) if line.endswith("-n my_run"))
ON_A_USERS_CORPUS = sorted({line for page in PAGES for line in page.commands(True)})


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``my_run``, which several pages use, is trained: pages share it."""
    folder = tmp_path_factory.mktemp("documentation")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*_arguments(FIRST), "--device", "cpu"]) == 0
    shutil.copy(next(folder.glob("result/downstream/my_run/corpus/Session1/**/*.wav")), folder / "a.wav")
    return folder


@pytest.fixture(autouse=True, scope="module")
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What pages have fetched from the Hub: tiny models in the place of BERT and Whisper."""
    folder = tmp_path_factory.mktemp("hub")
    places = {
        "google-bert/bert-base-uncased": tiny_bert(folder / "bert-base-uncased"),
        "openai/whisper-base": tiny_whisper(folder / "whisper-base"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s3prl_emotion.text.loading.snapshot", lambda name, **_: places[name])
        yield


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs/hooks/generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_line_of_a_block_is_a_command() -> None:
    assert {language for page in PAGES for language, _ in page.blocks} == LANGUAGES
    assert {line for page in PAGES for line in page.lines if not _is_command(line)} == OTHERS
    assert len(ON_A_USERS_CORPUS) >= 8
    assert sum(len(page.commands(False)) for page in PAGES) >= 16


@pytest.fixture(scope="module")
def deep_hubert(tmp_path_factory: pytest.TempPathFactory, tiny_hubert: Path) -> Path:
    """The same with as many blocks as HuBERT base, of which settings that ship name the ninth."""
    from transformers import HubertConfig, HubertModel

    folder = Path(shutil.copytree(tiny_hubert, tmp_path_factory.mktemp("deep") / "deep_hubert"))
    HubertModel(HubertConfig.from_pretrained(folder, num_hidden_layers=12)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("line", ON_A_USERS_CORPUS)
def test_commands_on_a_users_corpus_stop_at_its_place_only(line: str, tmp_path, capsys, deep_hubert) -> None:
    if "egemaps" in line or "functionals" in line:
        pytest.importorskip("opensmile", reason="of a research licence")
    shutil.copytree(deep_hubert, tmp_path / "upstreams" / "my_hubert")
    places = {"path/to/folder": deep_hubert, "path/to/trained.ckpt": deep_hubert / "model.safetensors"}
    arguments = [str(places.get(word, word)) for word in _arguments(line)]
    device = ["--device", "cpu"] if arguments[0] == "run" else []
    assert main([*arguments, *device]) == 2
    default = "five" if arguments[0] in ("study", "ladder") else "iemocap"
    corpus = arguments[arguments.index("--corpus") + 1] if "--corpus" in arguments else default
    assert f"no such file or folder. Corpus {corpus} expects" in capsys.readouterr().err


@pytest.mark.parametrize("page", [page for page in PAGES if page.commands(False)], ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_order(page: Page, workplace, monkeypatch, capsys) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("s3prl_emotion.cli.push.main", lambda args: 0)  # the only one that needs a network
    for line in page.commands(False):
        words = _arguments(line)
        extra = ["--device", "cpu"] if words[0] in ("run", "sweep", "predict", "classical") else []
        assert main(words + extra) == 0, line
    assert capsys.readouterr().out


@pytest.mark.parametrize("code", [code for page in PAGES for language, code in page.blocks if language == "python"])
def test_python_blocks_run(code: str, workplace, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(workplace)
    script = tmp_path / "block.py"
    script.write_text(code, encoding="utf-8")
    runpy.run_path(str(script))


@pytest.mark.parametrize("block", [code for page in PAGES for language, code in page.blocks if language == "bash"])
def test_scripts_are_read_by_a_shell(block: str) -> None:
    assert subprocess.run(["bash", "-n", "-c", block], capture_output=True).returncode == 0


def test_the_table_of_the_corpus_guide_is_read(tmp_path) -> None:
    from s3prl_emotion.corpora import corpora

    (block,) = [code for language, code in BY_NAME["docs/guides/corpus.md"].blocks if language == "csv"]
    (tmp_path / "table.csv").write_text(block, encoding="utf-8")
    manifest = corpora.get("table").read(tmp_path / "table.csv")
    assert [(item.label, item.speaker, item.text) for item in manifest.utterances] == [
        ("happy", "anna", "Good morning"),
        ("sad", "ben", "Not today"),
    ]


def _shape(text: str) -> list[str]:
    """Lines with every number as N and runs of blanks as one: what stays when figures change."""
    return [" ".join(re.sub(r"\d+(\.\d+)?", "N", line).split()) for line in text.strip().splitlines()]


@pytest.mark.slow
def test_the_demo_runs_and_prints_the_sample_of_the_readme(capsys) -> None:
    (sample,) = [block for language, block in README.blocks if language == "text"]
    assert main([*DEMO, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    table = printed[printed.index("upstream fbank |") :]
    assert _shape(table)[: len(_shape(sample))] == _shape(sample), f"the README's sample should begin so:\n{table}"
    mean = float(re.search(r"^mean +([\d.]+)", table, flags=re.MULTILINE)[1])
    assert 50 < mean < 98


def test_the_heads_of_the_readme_are_those_of_the_code() -> None:
    table = README.text.split("## Heads")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == {
        path.stem for path in ROOT.glob("downstream_configs/*.yaml")
    }


def test_the_files_of_a_run_are_those_of_the_guide(workplace) -> None:
    text = BY_NAME["docs/guides/run-folder.md"].text
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE) for name in row[1:-1].split("`, `")
    }
    folder = workplace / "result/downstream/my_run"
    found = {path.name for path in folder.iterdir() if path.name[0] != "."} - {"corpus", "fold1"}
    assert found <= {name for name in listed if "/" not in name}
    for name in listed - {"problems.csv", "robustness"}:  # written only where there is something to say
        assert (folder / name.replace("<N>", "1")).exists(), name


def _parsers(name: str) -> dict[str, argparse.ArgumentParser]:
    """The parser of a command, and those below it, by the words that ask for them."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"s3prl_emotion.cli.{name}").add_arguments(parser)
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: parser} | {f"{name} {word}": part for action in below for word, part in action.choices.items()}


def test_every_option_in_the_text_exists() -> None:
    known = set(ELSEWHERE)
    for name in COMMANDS:
        for parser in _parsers(name).values():
            known |= set(parser._option_string_actions)
    named = {(option, page.name) for page in PAGES for option in re.findall(r"`(--[a-z][\w-]*)", page.text)}
    assert len(named) > 20
    assert {(option, page) for option, page in named if option not in known} == set()


@pytest.mark.parametrize("kind", ["corpora", "protocols", "poolings", "effects", "classifiers", "downstreams", "shims"])
def test_what_ls_lists_is_generated(kind: str, generated: ModuleType, capsys) -> None:
    text = generated.heads() if kind == "downstreams" else getattr(generated, kind)()
    assert main(["ls", kind]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(names) > 3
    written = text.lower().replace("_", "")
    assert [name for name in names if name.replace("_", "") not in written] == []


def test_the_command_page_has_every_option_that_help_shows(generated: ModuleType, capsys) -> None:
    text = generated.commands()
    for name in COMMANDS:
        for words in _parsers(name):
            with pytest.raises(SystemExit):
                main([*words.split(), "--help"])
        shown = set(re.findall(r"^  (?:-\w, |-\w \S+, )?(--[a-z][\w-]*)", capsys.readouterr().out, flags=re.MULTILINE))
        section = text.split(f"## `{name}`\n")[1].split("\n## ")[0]
        assert [option for option in shown - {"--help"} if not re.search(f"`{option}[ `]", section)] == []


def test_every_mark_is_a_generated_text(generated: ModuleType) -> None:
    marks = {
        mark for page in PAGES for mark in re.findall(r"^<!-- generated: (.*) -->$", page.text, flags=re.MULTILINE)
    }
    assert marks == set(generated.GENERATED)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", BY_NAME[name].text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {page.name for page in PAGES if page.name.startswith("docs/")} == {
        f"docs/{page}" for page in re.findall(r": (\S+\.md)$", text, flags=re.MULTILINE)
    }
    assert yaml.safe_load(text)["theme"]["font"] is False


@pytest.mark.slow
def test_the_site_fetches_nothing(tmp_path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?https?:", text) == [], page
        assert "<!-- generated" not in text, page
