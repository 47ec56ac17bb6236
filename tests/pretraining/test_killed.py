"""kill -9 in every stage, three times each at random moments: the same command completes, nothing is done again."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

KILLS = 3
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Recipe:
    """A recipe's stages, settings that make them last, and the names of the files that they leave."""

    name: str
    stages: tuple[str, ...]
    settings: str
    made: tuple[str, ...]
    last: str  # a part of the path of what the last stage leaves

    def start(self, folder: Path, stage: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "s3prl_emotion", "pretrain", self.name, "--demo", "--fold", "1"]
        command += ["--stage", stage, "--device", "cpu", "-p", str(folder / "run")]
        command += ["--cache-root", str(folder / "cache"), "-o", self.settings]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, folder: Path, stage: str) -> float:
        start = time.monotonic()
        process = self.start(folder, stage)
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said.decode()[-2000:]
        return time.monotonic() - start

    def hashes(self, folder: Path) -> dict[str, str]:
        """Of what the stages left, wherever the folder is."""
        found = [path for name in self.made for path in (folder / "run").rglob(name)]
        contents = {path: path.read_bytes().replace(str(folder).encode(), b"") for path in found}
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(made).hexdigest() for path, made in contents.items()
        }


FLEA = Recipe(
    "flea",
    ("tapt", "finetune", "cluster", "cpt", "export"),
    "tapt.training.save_every=2,,cpt.training.save_every=2,,tapt.training.steps=20,,cpt.training.steps=20,,"
    "finetune.config.runner.save_step=2,,finetune.config.runner.eval_step=4",
    ("model.safetensors", "centroids.npy", "labels.npy", "predictions.csv", "history.jsonl"),
    "upstreams/cpt/fold1/model.safetensors",
)
CONTRASTIVE = Recipe(
    "contrastive",
    ("embed", "cluster", "analysis"),  # the others: tests/pretraining/contrastive/test_killed.py
    "cluster.choose=silhouette,,cluster.n_init=40,,cluster.shuffles=5000",
    ("embeddings.npy", "clusters.jsonl", "analysis.json", "clusters.svg"),
    "analysis/clusters.svg",
)


@pytest.mark.parametrize("recipe", [FLEA, CONTRASTIVE], ids=lambda recipe: recipe.name)
def test_killed_in_every_stage(tmp_path: Path, recipe: Recipe) -> None:
    lasted = {stage: recipe.finish(tmp_path / "whole", stage) for stage in recipe.stages}
    drawn = random.Random(0)
    killed = dict.fromkeys(recipe.stages, 0)
    for stage in recipe.stages:
        done = recipe.hashes(tmp_path / "parts")
        for _ in range(KILLS):
            process = recipe.start(tmp_path / "parts", stage)
            time.sleep(drawn.uniform(0.3, 1.0) * lasted[stage])
            if process.poll() is None:
                process.kill()
                killed[stage] += 1
            process.communicate()
        recipe.finish(tmp_path / "parts", stage)
        now = recipe.hashes(tmp_path / "parts")
        assert {name: now[name] for name in done} == done, "an earlier stage was done again"
    assert all(killed.values()), killed
    whole, parts = recipe.hashes(tmp_path / "whole"), recipe.hashes(tmp_path / "parts")
    assert any(recipe.last in name for name in whole)
    assert parts == whole
    print(killed, {stage: f"{seconds:.1f} s" for stage, seconds in lasted.items()})
