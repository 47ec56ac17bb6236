"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

# Several workers on few cores: the threads of one must not wait for those of another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from s3prl_emotion.corpora import Manifest, corpora


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore SIGINT, and nohup SIGHUP: tests send both."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_report_header() -> str:
    """Which libraries the tests ran on."""
    names = ("torch", "torchaudio", "transformers", "s3prl", "huggingface_hub", "numpy", "scikit-learn")
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo corpus of 80 utterances, made once per session. Do not write into it."""
    from s3prl_emotion.corpora.demo import make_demo_corpus

    return make_demo_corpus(tmp_path_factory.mktemp("demo") / "corpus", utterances_per_speaker_and_emotion=2)


@pytest.fixture(scope="session")
def demo_manifest(demo_root: Path) -> Manifest:
    """The manifest of :func:`demo_root`."""
    return corpora.get("demo").read(demo_root)


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HuBERT with random weights in transformers format: 2 layers of width 16, layer norm, layer-drop switched on."""
    import torch
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny_hubert"
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        feat_extract_norm="layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        layerdrop=0.5,
        mask_time_prob=0.0,
    )
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in a folder of its own: what a default path writes to is not the checkout."""
    monkeypatch.chdir(tmp_path)


SHORT = (
    "config.runner.total_steps={steps},,config.runner.eval_step={every},,config.runner.save_step={every},,"
    "config.runner.log_step={every},,config.optimizer.lr=1e-3"
)


@pytest.fixture(scope="session")
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hidden states that runs of the session share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path: Path, demo_root: Path, cache_root: Path) -> Callable[..., int]:
    """``run(*options, steps=4, every=2, more="")``: the command line on the demo corpus, in ``tmp_path / "run"``."""
    from s3prl_emotion.cli import main

    def start(*options: str, steps: int = 4, every: int = 2, more: str = "", folder: Path | None = None) -> int:
        override = SHORT.format(steps=steps, every=every) + (f",,{more}" if more else "")
        return main(
            [
                "run",
                *("--corpus", "demo", "--data", str(demo_root), "--device", "cpu", "--cache-root", str(cache_root)),
                *("-p", str(folder or tmp_path / "run"), "-o", override),
                *options,
            ]
        )

    return start
