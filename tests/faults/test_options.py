"""Options that cannot be meant so, of every command."""

# ruff: noqa: E501  (one row, one line)

from __future__ import annotations

from pathlib import Path

import pytest

from faults.campaign import Fault, hold, table

pytestmark = pytest.mark.slow

RUN = ("run", "-u", "fbank", "-d", "emotion_mean", "--device", "cpu")
DEMO = (*RUN, "--corpus", "demo", "--data", "{demo}", "-p", "{here}/run")
SWEEP = ("sweep", "-u", "fbank", "-d", "emotion_mean", "--device", "cpu")
STOCK = (
    "run",
    "-u",
    "fbank",
    "-d",
    "emotion",
    "--device",
    "cpu",
    "--corpus",
    "demo",
    "--data",
    "{demo}",
    "-p",
    "{here}/run",
)


def _text(name: str, content: str = "x") -> object:
    return lambda here: (here / name).write_text(content)


@table(
    # --- no such command, no such option ------------------------------------------------------------------------------
    Fault("no command", (), ("COMMAND",)),
    Fault("an unknown command", ("runn",), ("invalid choice: 'runn'",)),
    Fault("an unknown option", (*RUN, "--sed", "3"), ("--sed",)),
    Fault("an option without its value", ("run", "-u"), ("-u",)),
    # --- run: what and on what ----------------------------------------------------------------------------------------
    Fault("no upstream", ("run", "-d", "emotion_mean"), ("-u is missing", "ls upstreams")),
    Fault("no downstream", ("run", "-u", "fbank"), ("-d is missing", "ls downstreams")),
    Fault("an empty upstream", ("run", "-u", "", "-d", "emotion_mean", "--device", "cpu"), ("-u ''",)),
    Fault("an unknown upstream", ("run", "-u", "fbnk", "-d", "emotion_mean", "--device", "cpu"), ("-u 'fbnk' is not",)),
    Fault("code as upstream", ("run", "-u", "__import__('os').system('touch EXECUTED')", "-d", "emotion_mean", "--device", "cpu"), ("-u",)),
    Fault("a part of Python as upstream", ("run", "-u", "__builtins__", "-d", "emotion_mean", "--device", "cpu"), ("is not an upstream",)),
    Fault("a function of S3PRL's hub as upstream", ("run", "-u", "options", "-d", "emotion_mean", "--device", "cpu"), ("is not an upstream",)),
    Fault("an unknown downstream", ("run", "-u", "fbank", "-d", "emotion_men", "--device", "cpu"), ("-d 'emotion_men'", "Did you mean")),
    Fault("a downstream of S3PRL's for something else", ("run", "-u", "fbank", "-d", "asr", "--device", "cpu"), ("-d 'asr' is not an emotion downstream",)),
    Fault("a downstream by path", ("run", "-u", "fbank", "-d", "../emotion", "--device", "cpu"), ("-d '../emotion' is not",)),
    Fault("an unknown corpus", ("prepare", "--corpus", "emodb44", "--data", "x", "--out", "p"), ("emodb4",)),
    Fault("an unknown corpus to run on", (*RUN, "--corpus", "emodb44", "--data", "x"), ("--corpus", "emodb4")),
    Fault("no folder of the corpus", (*RUN, "--corpus", "iemocap"), ("--corpus iemocap", "--data DIR")),
    Fault("a folder that is not there", (*RUN, "--corpus", "emodb4", "--data", "{here}/nowhere"), ("nowhere",)),
    Fault("a corpus option without a value", (*DEMO, "--corpus-option", "train"), ("--corpus-option 'train': expected KEY=VALUE",)),
    Fault("a corpus option twice", (*DEMO, "--corpus-option", "a=1", "--corpus-option", "a=2"), ("a is given twice",)),
    Fault("an unknown corpus option", (*DEMO, "--corpus-option", "nosuch=1"), ("nosuch",)),
    Fault("an unknown protocol", (*DEMO, "--protocol", "strikt"), ("--protocol", "'strict'")),
    Fault("another protocol for S3PRL's expert", (*STOCK, "--protocol", "strict"), ("it has protocol 'superb' only",)),
    # --- run: folds and seeds -----------------------------------------------------------------------------------------
    Fault("a negative seed", ("run", "-u", "fbank", "-d", "emotion_mean", "--seed", "-1"), ("0 or more",)),
    Fault("a seed above NumPy's limit", (*RUN, "--seed", "4294967296"), ("--seed", "4294967295")),
    Fault("a seed of 5000 digits", (*RUN, "--seed", "9" * 5000), ("--seed",)),
    Fault("a seed with a point", (*RUN, "--seed", "1.5"), ("--seed",)),
    Fault("a seed of text", (*RUN, "--seed", "abc"), ("--seed",)),
    Fault("seeds above NumPy's limit", (*RUN, "--seeds", "1,4294967296"), ("--seeds", "4294967295")),
    Fault("seeds of text", (*RUN, "--seeds", "1,b"), ("--seeds", "0,1,2")),
    Fault("no seeds", (*RUN, "--seeds", ""), ("--seeds",)),
    Fault("a seed twice", (*RUN, "--seeds", "1,1"), ("--seeds 1,1", "named twice")),
    Fault("a seed and seeds", (*RUN, "--seeds", "1,2", "--seed", "3"), ("--seed 3 and --seeds",)),
    Fault("a fold of text", (*DEMO, "--fold", "two"), ("--fold 'two'",)),
    Fault("no fold", (*DEMO, "--fold", ""), ("--fold ''",)),
    Fault("fold 0", (*DEMO, "--fold", "0"), ("--fold 0", "1, 2, 3, 4, 5")),
    Fault("fold 9", (*DEMO, "--fold", "9"), ("--fold 9", "1, 2, 3, 4, 5")),
    Fault("a fold twice", (*DEMO, "--fold", "1,1"), ("--fold '1,1'", "twice")),
    Fault("a variant that is none", (*DEMO, "-v", "fold0"), ("fold0",)),
    Fault("a fold and another variant", (*DEMO, "--fold", "1", "-v", "fold2"), ("name different test folds",)),
    # --- run: S3PRL's options -----------------------------------------------------------------------------------------
    Fault("an unknown mode", (*RUN, "-m", "evaluat"), ("--mode", "evaluat")),
    Fault("code as mode", (*RUN, "-m", "__import__('os').system('touch EXECUTED')"), ("--mode",)),
    Fault("inference without a checkpoint", ("run", "-m", "inference", "-t", "a.wav"), ("-m inference needs -e CKPT",)),
    Fault("inference without audio", ("run", "-m", "inference", "-e", "a.ckpt"), ("-m inference needs -t FILE",)),
    Fault("a checkpoint that is not there", ("run", "-m", "evaluate", "-e", "nowhere.ckpt"), ("-e nowhere.ckpt",)),
    Fault("a folder without a checkpoint", ("run", "-m", "evaluate", "-e", "{here}"), ("dev-best.ckpt: no such checkpoint",)),
    Fault("a folder to go on from without one", ("run", "-e", "{here}"), ("no states-<step>.ckpt",)),
    Fault("a folder to go on from that is not there", ("run", "-e", "{here}/nowhere/"), ("nowhere",)),
    Fault("a checkpoint and an upstream", ("run", "-e", "a.ckpt", "-u", "fbank"), ("-u: with a checkpoint given by -e",)),
    Fault("a checkpoint and a protocol", ("run", "-e", "a.ckpt", "--protocol", "strict"), ("--protocol: with a checkpoint",)),
    Fault("a rate for a checkpoint", ("run", "-e", "a.ckpt", "-o", "config.optimizer.lr=1"), ("-e goes on with the optimiser state",)),
    Fault("a checkpoint for its parameters alone", (*RUN, "-i", "a.ckpt"), ("-m evaluate -e CKPT",)),
    Fault("a split that is none", (*RUN, "-m", "evaluate", "-t", "tests"), ("-m evaluate -t tests needs -e CKPT",)),
    Fault("a configuration that is not there", (*RUN, "-c", "{here}/nowhere.yaml"), ("nowhere.yaml: no such configuration file",)),
    Fault("a folder as configuration", (*RUN, "-c", "{here}"), ("no such configuration file",)),
    Fault("a name and a folder for the run", (*DEMO, "-n", "x"), ("both name the run folder",)),
    Fault("a file as run folder", (*RUN, "--corpus", "demo", "--data", "{demo}", "-p", "{here}/taken"), ("taken",), _text("taken")),
    Fault("a layer of text", (*RUN, "-l", "a"), ("-l",)),
    Fault("a layer that is not there", (*DEMO, "-l", "9"), ("-l 9",)),
    Fault("a selection that is not there", (*DEMO, "-s", "nosuch"), ("-s nosuch",)),
    Fault("a normalisation of one layer", (*DEMO, "--upstream_feature_normalize"), ("several layers",)),
    Fault("a checkpoint that is ignored", (*RUN, "-k", "x.pt"), ("-u fbank",)),
    Fault("a settings file that is ignored", (*RUN, "-g", "x.yaml"), ("-u fbank",)),
    Fault("a cache with -f", (*DEMO, "-f", "--cache"), ("--cache with -f",)),
    Fault("a size of text", (*RUN, "--cache-limit", "much"), ("--cache-limit 'much'",)),
    Fault("a size of 0", (*RUN, "--cache-limit", "0"), ("--cache-limit '0'",)),
    Fault("a dtype that is none", (*RUN, "--cache-dtype", "int8"), ("--cache-dtype",)),
    Fault("a device that is none", ("run", "-u", "fbank", "-d", "emotion_mean", "--device", "tpu"), ("--device tpu: expected cpu, cuda or cuda:N",)),
    Fault("an empty device", ("run", "-u", "fbank", "-d", "emotion_mean", "--device", ""), ("--device",)),
    Fault("a number as device", ("run", "-u", "fbank", "-d", "emotion_mean", "--device", "-7"), ("--device",)),
    Fault("several processes", (*RUN, "--local_rank", "0"), ("--local_rank: distributed training",)),
    Fault("an upload", (*RUN, "--push_to_hf_hub", "True"), ("--push_to_hf_hub",)),
    Fault("S3PRL's hub", (*RUN, "--hub", "huggingface"), ("--hub huggingface",)),
    # --- sweep --------------------------------------------------------------------------------------------------------
    Fault("a sweep of a checkpoint", (*SWEEP, "-e", "a.ckpt"), ("sweep trains",)),
    Fault("a sweep by name", (*SWEEP, "-n", "x"), ("leave -n, -p and -v out",)),
    Fault("a rate of text", (*SWEEP, "--lr", "fast"), ("--lr 'fast'",)),
    Fault("a rate of 0", (*SWEEP, "--lr", "0"), ("--lr",)),
    Fault("a rate of nan", (*SWEEP, "--lr", "nan"), ("--lr",)),
    Fault("a rate of inf", (*SWEEP, "--lr", "inf"), ("lr",)),
    Fault("a rate twice", (*SWEEP, "--lr", "1e-3,0.001"), ("--lr '1e-3,0.001'", "twice")),
    Fault("two kinds of rates", (*SWEEP, "--lr", "1e-3", "-o", "config.optimizer.lr=1"), ("both name learning rates",)),
    Fault("no upstreams", ("sweep", "-u", ",", "-d", "emotion_mean"), ("-u: expected at least one",)),
    Fault("an upstream twice", ("sweep", "-u", "fbank,fbank", "-d", "emotion_mean"), ("named twice",)),
    # --- the other commands -------------------------------------------------------------------------------------------
    Fault("prepare without a corpus", ("prepare", "--out", "p"), ("--corpus",)),
    Fault("prepare without a place", ("prepare", "--corpus", "demo"), ("--out",)),
    Fault("audit of nothing", ("audit", "{here}/nowhere"), ("nowhere",)),
    Fault("evaluate nothing", ("evaluate", "{here}/nowhere"), ("nowhere",)),
    Fault("compare nothing", ("compare",), ("RUN",)),
    Fault("compare what is not there", ("compare", "{here}/nowhere"), ("nowhere",)),
    Fault("an unknown metric", ("compare", "{here}", "--metric", "f2"), ("--metric",)),
    Fault("an unknown format", ("compare", "{here}", "--format", "xls"), ("--format",)),
    Fault("predict without a run", ("predict", "a.wav"), ("--run",)),
    Fault("predict with what is not there", ("predict", "--run", "{here}/nowhere", "a.wav"), ("nowhere",)),
    Fault("predict with an empty folder", ("predict", "--run", "{here}", "a.wav"), ("neither a run folder",)),
    Fault("predict with a fold of text", ("predict", "--run", "{here}", "--fold", "two", "a.wav"), ("--fold 'two'",)),
    Fault("export what is not there", ("export", "{here}/nowhere", "--out", "{here}/e"), ("nowhere",)),
    Fault("export without a place", ("export", "{here}"), ("--out",)),
    Fault("push without a place", ("push", "{here}"), ("--repo",)),
    Fault("an unknown action on the cache", ("cache", "clean"), ("invalid choice: 'clean'",)),
    Fault("a store that is not there", ("cache", "clear", "nosuch", "--cache-root", "{here}"), ("'nosuch': no such store",)),
    Fault("an unknown list", ("ls", "corpus"), ("invalid choice: 'corpus'",)),
)  # fmt: skip
def test_option(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str], demo_root: Path) -> None:
    said = hold(fault, tmp_path, capsys, demo=demo_root)
    assert len(said) < 12_000
