"""Parts of a user's own, in a folder or an installed package: found, used, recorded, and told apart from ours."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from s3prl_emotion import plugins
from s3prl_emotion.audio.augmentation import effects
from s3prl_emotion.classical import classifiers
from s3prl_emotion.cli import main
from s3prl_emotion.corpora import corpora
from s3prl_emotion.downstream.objectives import objectives
from s3prl_emotion.errors import ConfigError, NameClashError, PluginError
from s3prl_emotion.experiment.studies import studies
from s3prl_emotion.pooling import poolings
from s3prl_emotion.protocols import protocols
from s3prl_emotion.registry import Registry
from s3prl_emotion.s3prl_runner import registration, upstream_registry

SHORT = "config.runner.total_steps=4,,config.runner.eval_step=2"
FILES = {
    "pooling/my_max.py": """
        from torch import Tensor

        from s3prl_emotion.pooling import Pooling, poolings

        from ._helper import LOWEST


        @poolings.register("my_max")
        class Max(Pooling):
            '''The largest value of each channel.'''

            def __init__(self, input_size: int) -> None:
                super().__init__(input_size)
                self.output_size = input_size

            def pool(self, v: Tensor, valid: Tensor) -> Tensor:
                return v.masked_fill(~valid.unsqueeze(-1), LOWEST).amax(dim=1)
        """,
    "pooling/_helper.py": """
        LOWEST = -float("inf")
        """,
    "objectives/my_brier.py": """
        from torch import Tensor
        from torch.nn import functional

        from s3prl_emotion.downstream.objectives import Objective, objectives


        @objectives.register("my_brier")
        class Brier(Objective):
            '''Squared distance of probabilities and labels.'''

            soft = True

            def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
                rates = labels if labels.ndim == 2 else functional.one_hot(labels, logits.shape[1]).to(logits)
                return (logits.softmax(dim=-1) - rates).square().sum(dim=-1).mean()
        """,
    "corpora/my_corpus.py": """
        import dataclasses

        from s3prl_emotion.corpora import corpora

        DEMO = corpora.get("demo")
        corpora.register("my_corpus")(dataclasses.replace(DEMO, name="my_corpus", licence="my own"))
        """,
    "protocols/my_protocol.py": """
        import dataclasses

        from s3prl_emotion.protocols import protocols

        STRICT = protocols.get("strict")
        protocols.register("my_protocol")(dataclasses.replace(STRICT, name="my_protocol", description="strict, by WA",
                                                              selection="accuracy"))
        """,
    "upstream_patches/my_upstream.py": """
        def my_upstream(ckpt=None, **kwargs):
            '''Energy and its logarithm in frames of 20 ms.'''
            import torch

            class Energy(torch.nn.Module):
                def get_downsample_rates(self, key=None):
                    return 320

                def forward(self, wavs):
                    frames = [torch.nn.functional.pad(wav, (0, 320)).unfold(0, 320, 320) for wav in wavs]
                    states = [torch.stack((f.square().mean(1), (1e-6 + f.square().mean(1)).log()), 1) for f in frames]
                    padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
                    return {"hidden_states": [padded, padded.square()], "last_hidden_state": padded.square()}

            return Energy()


        def _not_a_name():
            pass
        """,
    "downstream_configs/my_head.yaml": """
        # A head of my own.

        runner: {total_steps: 4, eval_step: 2, save_step: 2, log_step: 2}
        optimizer: {name: TorchOptim, torch_optim_name: Adam, lr: 1.0e-3}
        downstream_expert:
          datarc: {train_batch_size: 8}
          modelrc:
            projector_dim: 4
            pooling: {name: my_max}
            objective: {name: my_brier}
        """,
}


def write(folder: Path, *names: str, **changed: str) -> Path:
    """Those files of :data:`FILES`, all if none is named; ``changed`` maps a stem to another text."""
    for name in names or FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(changed.get(path.stem, FILES[name])).lstrip())
    return folder


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """What a test registers is gone after it; names on the hub and executed files too."""
    monkeypatch.delenv(plugins.FOLDERS, raising=False)
    registries: list[Registry] = [poolings, objectives, corpora, protocols, classifiers, effects, studies]
    for registry in registries:
        registry.names()
    kept = [(dict(registry._entries), dict(registry._files), registry._scanned) for registry in registries]
    modules, path = set(sys.modules), list(sys.path)
    registration.register()
    from s3prl import hub

    names = set(vars(hub))
    yield
    for registry, state in zip(registries, kept, strict=True):
        registry._entries, registry._files, registry._scanned = state
    for name in set(sys.modules) - modules:
        if name.startswith(("_s3prl_emotion_plugins_", "my_package", "s3prl.downstream.my_")):
            del sys.modules[name]
    for name in set(vars(hub)) - names:
        delattr(hub, name)
    sys.path[:] = path
    plugins._is_usable.cache_clear()


def installed(tmp_path: Path, monkeypatch, value: str = "my_package", name: str = "parts") -> Path:
    """A package as pip would install it: its folder, and a ``dist-info`` with an entry point."""
    site = tmp_path / "site"
    (site / "my_package").mkdir(parents=True)
    (site / "my_package" / "__init__.py").write_text("RAN = True\n")
    info = site / "my_parts-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-parts\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(site)
    return site / "my_package"


def check_all_are_found(folder: Path) -> None:
    assert poolings.build("my_max", {}, input_size=3).output_size == 3
    assert objectives.get("my_brier").soft
    assert corpora.get("my_corpus").licence == "my own"
    assert protocols.get("my_protocol").selection == "accuracy"
    assert upstream_registry.upstreams()["my_upstream"](None).get_downsample_rates() == 320
    assert "_not_a_name" not in upstream_registry.upstreams()
    assert registration.downstream_configs()["my_head"] == folder / "downstream_configs" / "my_head.yaml"
    assert poolings.file_of("my_max") == str(folder / "pooling" / "my_max.py")
    assert poolings.file_of("mean").endswith(os.path.join("s3prl_emotion", "pooling", "statistics.py"))


def test_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(plugins.FOLDERS, str(write(tmp_path / "mine")))
    check_all_are_found(tmp_path / "mine")


def test_an_installed_package(tmp_path, monkeypatch) -> None:
    folder = write(installed(tmp_path, monkeypatch))
    check_all_are_found(folder)
    assert poolings.get("my_max").__module__ == "my_package.pooling.my_max"


def test_several_folders_and_one_named_twice(tmp_path, monkeypatch) -> None:
    first, second = write(tmp_path / "a", "pooling/my_max.py", "pooling/_helper.py"), tmp_path / "b"
    write(second, *(name for name in FILES if not name.startswith("pooling")))
    monkeypatch.setenv(plugins.FOLDERS, os.pathsep.join(map(str, (first, second, first))))
    assert "my_max" in poolings.names()
    assert "my_brier" in objectives.names()
    assert [root.name for root in plugins.roots()] == ["a", "b"]


def test_another_process_finds_them_on_the_command_line(tmp_path) -> None:
    write(tmp_path / "mine")
    environment = {**os.environ, plugins.FOLDERS: str(tmp_path / "mine")}
    command = [sys.executable, "-m", "s3prl_emotion", "ls", "poolings"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("my_max"))
    assert line.endswith(f"The largest value of each channel.  [plugin: {tmp_path}/mine/pooling/my_max.py]")
    assert "[plugin" not in done.stdout.replace(line, "")


@pytest.mark.parametrize(
    ("kind", "name", "file"),
    [
        ("downstreams", "my_head", "downstream_configs/my_head.yaml"),
        ("upstreams", "my_upstream", "upstream_patches/my_upstream.py"),
        ("corpora", "my_corpus", "corpora/my_corpus.py"),
        ("protocols", "my_protocol", "protocols/my_protocol.py"),
        ("poolings", "my_max", "pooling/my_max.py"),
        ("objectives", "my_brier", "objectives/my_brier.py"),
    ],
)
def test_ls_says_where_an_entry_comes_from(kind, name, file, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv(plugins.FOLDERS, str(write(tmp_path / "mine")))
    assert main(["ls", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "plugin: " in line] == [name]
    assert f"plugin: {tmp_path / 'mine' / file}" in next(line for line in lines if line.startswith(name))


# --- a run with parts of one's own ------------------------------------------------------------------------------------


def test_a_run_uses_and_records_them(run, demo_root, tmp_path, monkeypatch, capsys) -> None:
    folder = write(tmp_path / "mine")
    monkeypatch.setenv(plugins.FOLDERS, str(folder))
    options = (
        "-u",
        "my_upstream",
        "-d",
        "my_head",
        "--corpus",
        "my_corpus",
        "--protocol",
        "my_protocol",
        "--fold",
        "1",
    )
    assert run(*options) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    expected = {
        "corpus my_corpus": "mine/corpora/my_corpus.py",
        "downstream my_head": "mine/downstream_configs/my_head.yaml",
        "objective my_brier": "mine/objectives/my_brier.py",
        "pooling my_max": "mine/pooling/my_max.py",
        "protocol my_protocol": "mine/protocols/my_protocol.py",
        "upstream my_upstream": "mine/upstream_patches/my_upstream.py",
    }
    for content in (record, results):
        assert {key: told["file"] for key, told in content["settings"]["plugins"].items()} == expected
        for key, told in content["settings"]["plugins"].items():
            assert told["sha256"] == hashlib.sha256((tmp_path / told["file"]).read_bytes()).hexdigest(), key
    assert run(*options) == 0, "the same files: the run goes on"
    capsys.readouterr()

    path = folder / "pooling" / "my_max.py"
    path.write_text(path.read_text() + "# another file\n")
    assert run(*options) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "holds a run with other settings: settings.plugins.pooling my_max.sha256 was '" in said

    audio = next(demo_root.rglob("*.wav"))
    assert main(["predict", "--run", str(tmp_path / "run"), str(audio), "--device", "cpu"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "the pooling my_max is not the file mine/pooling/my_max.py that this was trained with" in said


def test_a_run_without_plugins_records_none(run, tmp_path) -> None:
    assert run("-u", "fbank", "-d", "emotion_mean", "--fold", "1") == 0
    assert "plugins" not in json.loads((tmp_path / "run" / "run.json").read_text())["settings"]


# --- what goes wrong --------------------------------------------------------------------------------------------------


BROKEN = {
    "a syntax error": ("def broken(:\n", "SyntaxError: "),
    "a missing module": ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    "an exception": ("raise RuntimeError('told so')\n", "RuntimeError: told so"),
    "an exit": ("import sys\nsys.exit(3)\n", "it ends the program (3)"),
    "an error of ours": ("from s3prl_emotion.errors import RunError\nraise RunError('told so')\n", "told so"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_plugin_that_cannot_be_imported(what, tmp_path, monkeypatch) -> None:
    text, told = BROKEN[what]
    for kind in ("pooling", "objectives", "upstream_patches"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    (tmp_path / "mine" / "pooling" / "broken.py").write_text(text)
    (tmp_path / "mine" / "upstream_patches" / "broken.py").write_text(text)
    monkeypatch.setenv(plugins.FOLDERS, str(tmp_path / "mine"))
    for _ in range(2):  # the second look-up says the same
        with pytest.raises(PluginError) as caught:
            poolings.get("mean")
        assert str(caught.value).startswith(f"{tmp_path}/mine/pooling/broken.py: this plugin cannot be used: ")
        assert told in str(caught.value)
    with pytest.raises(PluginError, match=r"upstream_patches/broken\.py: this plugin cannot be used"):
        upstream_registry.upstreams()
    assert "cross_entropy" in objectives.names(), "other kinds are not looked at"
    (tmp_path / "mine" / "pooling" / "broken.py").unlink()
    assert "mean" in poolings.names(), "and it works again where the file is gone"


def test_a_broken_plugin_on_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "mine" / "corpora").mkdir(parents=True)
    (tmp_path / "mine" / "corpora" / "broken.py").write_text("1 / 0\n")
    monkeypatch.setenv(plugins.FOLDERS, str(tmp_path / "mine"))
    assert main(["ls", "poolings"]) == 0
    assert main(["ls", "corpora"]) == 2
    said = capsys.readouterr().err
    assert "corpora/broken.py: this plugin cannot be used: ZeroDivisionError" in " ".join(said.split())
    assert "Traceback" not in said


MORE = {
    "classical/my_lda.py": """
        from s3prl_emotion.classical import Classifier, classifiers


        def make(seed, **options):
            raise KeyError("told so")


        classifiers.register("my_lda")(Classifier("linear discriminant analysis", make, {"tol": (1e-4, 1e-2)}))
        """,
    "augmentation/my_effect.py": """
        from s3prl_emotion.audio.augmentation import Effect, effects


        @effects.register("my_effect")
        class Mine(Effect):
            name = "my_effect"

            def draw(self, waveform, rate_hz, generator):
                return {}

            def apply(self, waveform, rate_hz, generator, drawn):
                raise KeyError("told so")
        """,
    "studies/my_study.py": """
        from s3prl_emotion.experiment.studies import Study, studies


        @studies.register("my_study")
        class Mine(Study):
            def variants(self, setting):
                raise KeyError("told so")
        """,
}
RAISING = {
    "a pooling": ("pooling/my_max.py", "return v.masked", ("-d", "my_head")),
    "a pooling that is built": ("pooling/my_max.py", "super().__init__(input_size)", ("-d", "my_head")),
    "an objective": ("objectives/my_brier.py", "rates = labels", ("-d", "my_head")),
    "an upstream": ("upstream_patches/my_upstream.py", "frames = [torch", ("-u", "my_upstream")),
    "an upstream that is built": ("upstream_patches/my_upstream.py", "import torch", ("-u", "my_upstream")),
}


@pytest.mark.parametrize("fault", ["raise KeyError('told so')", "raise ValueError('told so')", "raise SystemExit(7)"])
@pytest.mark.parametrize("what", RAISING)
def test_a_plugin_that_raises(what, fault, run, tmp_path, monkeypatch, capsys) -> None:
    name, before, options = RAISING[what]
    indent = re.search(rf"^( *){re.escape(before)}", FILES[name], re.MULTILINE)[1]
    text = FILES[name].replace(f"{indent}{before}", f"{indent}{fault}\n{indent}{before}", 1)
    folder = write(tmp_path / "mine", **{Path(name).stem: text})
    monkeypatch.setenv(plugins.FOLDERS, str(folder))
    given = {"-u": "fbank", "-d": "emotion_mean", **dict([options])}
    assert run(*(word for pair in given.items() for word in pair), "--fold", "1", "--no-cache") == 2
    said = capsys.readouterr().err
    assert str(folder / name) in said
    assert ("told so" if "told" in fault else "it ends the program (7)") in said
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if line.startswith("error: ")]) == 1


def test_other_plugins_that_raise(demo_root, tmp_path, monkeypatch, capsys) -> None:
    texts = {**FILES, **MORE}
    text = FILES["corpora/my_corpus.py"]
    texts["corpora/my_corpus.py"] = text.replace(
        'name="my_corpus"', 'name="my_corpus", reader=lambda *given, **more: {}["told so"]'
    )
    text = FILES["protocols/my_protocol.py"]
    texts["protocols/my_protocol.py"] = text.replace('selection="accuracy"', 'divide=lambda *given: {}["told so"]')
    for name, text in texts.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(textwrap.dedent(text).lstrip())
    monkeypatch.setenv(plugins.FOLDERS, str(tmp_path / "mine"))
    data = ("--data", str(demo_root))
    study = ("study", "my_study", "-u", "fbank", "-d", "emotion_mean", *data)
    effect = "config.downstream_expert.datarc.augmentation=[{'name': 'my_effect', 'p': 1.0}]"
    heard = ("run", "-u", "fbank", "-d", "emotion_mean", "--fold", "1", "--device", "cpu", "--no-cache")
    for name, command in {
        "corpora/my_corpus.py": ("prepare", "--corpus", "my_corpus", *data, "--out", "prepared"),
        "protocols/my_protocol.py": ("prepare", "--corpus", "demo", *data, "--protocol", "my_protocol", "--out", "b"),
        "classical/my_lda.py": (
            "classical",
            "-u",
            "fbank_no_cmvn",
            "--classifier",
            "my_lda",
            "--corpus",
            "demo",
            *data,
        ),
        "augmentation/my_effect.py": (*heard, "--corpus", "demo", *data, "-o", effect),
        "studies/my_study.py": study,
    }.items():
        assert main(list(command)) == 2, name
        said = capsys.readouterr().err
        assert f"{tmp_path / 'mine' / name}: this plugin failed in line " in said, (name, said)
        assert "told so" in said, name
        assert "Traceback" not in said, name
    assert main([*study, "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_faults_of_ours_keep_their_traceback(monkeypatch) -> None:
    monkeypatch.setattr("s3prl_emotion.cli.ls.main", lambda _: {}["mine"])
    with pytest.raises(KeyError):
        main(["ls", "protocols"])


def test_half_registered_and_repaired(tmp_path, monkeypatch) -> None:
    folder = write(tmp_path / "mine", "objectives/my_brier.py")
    path = folder / "objectives" / "my_brier.py"
    path.write_text(path.read_text() + "\nraise RuntimeError('at the end')\n")
    monkeypatch.setenv(plugins.FOLDERS, str(folder))
    with pytest.raises(PluginError, match="RuntimeError: at the end"):
        objectives.names()
    write(tmp_path / "mine", "objectives/my_brier.py")
    os.utime(path, (1, 1))  # Python tells a changed file by its time
    assert "my_brier" in objectives.names()


def test_a_name_of_ours(tmp_path, monkeypatch) -> None:
    folder = write(
        tmp_path / "mine",
        "objectives/my_brier.py",
        my_brier=FILES["objectives/my_brier.py"].replace('register("my_brier")', 'register("cross_entropy")'),
    )
    monkeypatch.setenv(plugins.FOLDERS, str(folder))
    with pytest.raises(PluginError) as caught:
        objectives.names()
    assert "objective 'cross_entropy' is registered twice: " in str(caught.value)
    assert "s3prl_emotion/downstream/objectives/losses.py and " in str(caught.value)
    assert str(folder / "objectives" / "my_brier.py") in str(caught.value)


def test_a_name_in_two_plugins(tmp_path, monkeypatch) -> None:
    folders = [write(tmp_path / name) for name in ("a", "b")]
    monkeypatch.setenv(plugins.FOLDERS, os.pathsep.join(map(str, folders)))
    for look_up in (poolings.names, upstream_registry.upstreams, registration.downstream_configs, protocols.names):
        with pytest.raises(PluginError, match="twice") as caught:
            look_up()
        assert f"{tmp_path}/a/" in str(caught.value)
        assert f"{tmp_path}/b/" in str(caught.value)


@pytest.mark.parametrize("name", ["emotion", "emotion_mean", "asr", "sv_voxceleb1"])
def test_a_downstream_of_ours_or_s3prls(name, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine" / "downstream_configs").mkdir(parents=True)
    path = tmp_path / "mine" / "downstream_configs" / f"{name}.yaml"
    path.write_text("runner: {}\n")
    monkeypatch.setenv(plugins.FOLDERS, str(tmp_path / "mine"))
    with pytest.raises(NameClashError, match=f"downstream '{name}' is there twice: .*{name}.* and ") as caught:
        registration.downstream_configs()
    assert str(path) in str(caught.value)


def test_an_upstream_of_s3prls(tmp_path, monkeypatch) -> None:
    folder = write(
        tmp_path / "mine",
        "upstream_patches/my_upstream.py",
        my_upstream=FILES["upstream_patches/my_upstream.py"].replace("def my_upstream", "def fbank"),
    )
    monkeypatch.setenv(plugins.FOLDERS, str(folder))
    with pytest.raises(NameClashError, match=r"upstream 'fbank' of .*my_upstream\.py exists in .*hub\.py already"):
        upstream_registry.upstream_names()


def test_a_mistake_in_a_yaml_names_the_plugin(run, tmp_path, monkeypatch, capsys) -> None:
    text = FILES["downstream_configs/my_head.yaml"].replace("my_max", "my_mux")
    monkeypatch.setenv(plugins.FOLDERS, str(write(tmp_path / "mine", my_head=text)))
    assert run("-u", "fbank", "-d", "my_head", "--fold", "1") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "mine/downstream_configs/my_head.yaml" in said
    assert "unknown pooling 'my_mux'. Did you mean 'my_max'?" in said


def test_a_folder_that_is_none_or_holds_nothing_is_told(tmp_path, monkeypatch, caplog) -> None:
    (tmp_path / "poolings").mkdir()
    monkeypatch.setenv(plugins.FOLDERS, os.pathsep.join((str(tmp_path / "absent"), str(tmp_path))))
    assert "mean" in poolings.names()
    assert "mean" in poolings.names()
    assert caplog.text.count(f"names {tmp_path}/absent, which is no folder") == 1
    assert caplog.text.count(f"names {tmp_path}, which has none of the folders pooling, objectives") == 1


def test_the_checkout_itself_is_no_plugin(monkeypatch) -> None:
    monkeypatch.setenv(plugins.FOLDERS, str(Path(__file__).parents[1]))
    assert "hf_auto_custom" in upstream_registry.upstreams()
    assert "emotion_mean" in registration.downstream_configs()
    assert not any(plugins.record(path) for path in registration.downstream_configs().values())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no_such_package", r"names 'no_such_package', which is no package"),
        ("json.tool", r"names 'json.tool', which is no package; expected one with some of the folders pooling"),
        ("no_such_package.inner", r"'no_such_package.inner' cannot be found: ModuleNotFoundError"),
    ],
)
def test_an_entry_point_that_leads_nowhere(value, told, tmp_path, monkeypatch) -> None:
    installed(tmp_path, monkeypatch, value)
    with pytest.raises(PluginError, match=told) as caught:
        poolings.names()
    assert "the entry point 'parts' of 's3prl_emotion.plugins' of my-parts" in str(caught.value)


def test_nothing_is_executed_before_it_is_looked_up(tmp_path, monkeypatch) -> None:
    folder = installed(tmp_path, monkeypatch)
    (folder / "protocols").mkdir()
    (folder / "protocols" / "loud.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w').close()\n")
    assert "mean" in poolings.names()
    assert "demo" in corpora.names()
    assert not (tmp_path / "RAN").exists()
    assert "my_package" not in sys.modules
    assert "strict" in protocols.names()
    assert (tmp_path / "RAN").exists()


def test_an_unknown_name_is_told_with_the_plugins_in_the_list(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(plugins.FOLDERS, str(write(tmp_path / "mine")))
    with pytest.raises(ConfigError, match=r"unknown pooling 'my_mex'\. Did you mean 'my_max'\?"):
        poolings.get("my_mex")


# --- the guide --------------------------------------------------------------------------------------------------------

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "plugins.md"


def test_the_parts_of_the_guide_work(tmp_path, monkeypatch, capsys) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    blocks = re.findall(r"^`(\w+/\w+\.(?:py|yaml))`.*?^```(?:py|yaml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert {Path(name).parent.name for name, _ in blocks} == set(plugins.KINDS), "a recipe for each"
    for name, block in blocks:
        (tmp_path / "parts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "parts" / name).write_text(block, encoding="utf-8")
    commands = re.findall(rf"^{plugins.FOLDERS}=/path/to/my_parts s3prl-emotion (.*)$", text, re.MULTILINE)
    assert len(commands) == 2
    monkeypatch.setenv(plugins.FOLDERS, str(tmp_path / "parts"))
    for line in commands:
        words = shlex.split(line)
        if words[0] == "run":
            words[words.index("fbank")] = "my_upstream"
            words += ["--protocol", "my_protocol", "--fold", "1", "--device", "cpu", "-n", "mine", "-o", SHORT]
        assert main(words) == 0
    out = capsys.readouterr().out
    assert "my_max" in out
    assert "protocol my_protocol" in out
    assert main(["ls", "classifiers"]) == 0
    assert "my_lda" in capsys.readouterr().out
    assert main(["ls", "studies"]) == 0
    assert "How much of an utterance is needed?" in capsys.readouterr().out
    (tmp_path / "data").mkdir()
    for take in range(3):
        for label in ("calm", "cross"):
            (tmp_path / "data" / f"{take}_{label}_1.wav").touch()
    assert corpora.get("my_corpus").read(tmp_path / "data").counts() == {"calm": 3, "cross": 3}


def test_the_entry_point_of_the_guide_is_ours() -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert f'[project.entry-points."{plugins.GROUP}"]' in block
