"""From speech to clusters and on: labels are never read, what is finished is not done again, faults have names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.contrastive import analysis, clustering, clusters, embed, recipe, training
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan
from s3prl_emotion.pretraining.labels import save_array
from tests.pretraining.contrastive.plans import plan, table


def _shuffled(item: Utterance) -> str:
    return hashlib.sha256(item.id.encode()).hexdigest()[0]


LABELS: dict[str, Callable[[Utterance], str] | None] = {
    "true": lambda item: item.label,
    "shuffled": _shuffled,
    "absent": None,
}


def test_labels_are_never_read(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> None:
    """True, shuffled and absent labels give the same clusters and the same weights, byte by byte."""
    made = {}
    for name, label in LABELS.items():
        speech = table(tmp_path / "talks.csv", demo_manifest, label)
        done = plan(tmp_path / name, cache_root, speech)
        for stage in ("embed", "cluster", "pretrain"):
            recipe.run(done, stage)
        folders = clustering.stage_of(done, None).folder, training.stage_of(done, None).folder
        files = [folders[0] / clusters.ROWS, *sorted((folders[1] / training.HEAD).iterdir())]
        assert len(files) >= 3
        made[name] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert made["true"] == made["shuffled"] == made["absent"]
    assert done.speech.labels == ("unlabelled",)


def test_the_upper_bound_reads_them(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> None:
    """So that the test above could fail."""
    found = []
    for name in ("true", "shuffled"):
        speech = table(tmp_path / "talks.csv", demo_manifest, LABELS[name])
        done = plan(tmp_path / name, cache_root, speech, changes={"cluster": {"by": "labels"}})
        recipe.run(done, "embed")
        recipe.run(done, "cluster")
        found.append((clustering.stage_of(done, None).folder / clusters.ROWS).read_bytes())
    assert found[0] != found[1]


@pytest.fixture
def talks(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> ContrastivePlan:
    """Embedded and clustered, without folds."""
    made = plan(tmp_path / "run", cache_root, table(tmp_path / "talks.csv", demo_manifest))
    recipe.run(made, "embed")
    recipe.run(made, "cluster")
    return made


def test_clusters_are_of_each_utterance_that_is_heard(talks: ContrastivePlan) -> None:
    folder = clustering.stage_of(talks, None).folder
    rows = clusters.read(folder, talks.speech)
    assert [row.utterance for row in rows] == [item.id for item in talks.speech.utterances]
    assert all(Path(row.path).is_file() and row.source == "talks" for row in rows)
    of_speaker: dict[str, list[int]] = {}
    for row in rows:
        if row.cluster is not None:
            of_speaker.setdefault(row.speaker, []).append(row.cluster)
    assert of_speaker
    for numbers in of_speaker.values():
        sizes = np.bincount(numbers)
        assert len(sizes) >= 2
        assert sizes.min() >= 2
    about = json.loads((folder / clusters.ABOUT).read_text())
    assert about["used"] == len(of_speaker)
    assert set(about["inputs"]) == {"audio", "embeddings"}
    assert about["count"] == len(rows)


def test_every_fold_clusters_what_it_hears_and_embeds_once(tmp_path: Path, demo_root: Path, cache_root: Path) -> None:
    made = plan(tmp_path / "run", cache_root, f"demo={demo_root}", protocol="strict", folds=(1, 2))
    recipe.run(made, "embed")
    recipe.run(made, "cluster")
    for fold in (1, 2):
        rows = clusters.read(tmp_path / f"run/fold{fold}/cluster", made.heard(fold))
        assert {row.utterance for row in rows} == {item.id for item in made.heard(fold).utterances}
    with pytest.raises(RunError, match="clusters of other speech"):
        clusters.read(tmp_path / "run/fold1/cluster", made.heard(2))
    assert not list(tmp_path.glob("run/fold*/embed"))


def test_what_is_finished_is_not_done_again(talks: ContrastivePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "embedded", None)
    monkeypatch.setattr(clustering, "cluster", None)
    recipe.run(talks, "embed")
    recipe.run(talks, "cluster")


def test_stages_need_those_before(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> None:
    made = plan(tmp_path / "run", cache_root, table(tmp_path / "talks.csv", demo_manifest))
    with pytest.raises(RunError, match=r"cluster: stage embed is not finished: run it first \(--stage embed\)"):
        recipe.run(made, "cluster")
    recipe.run(made, "embed")
    with pytest.raises(RunError, match=r"pretrain: stage cluster is not finished: run it first \(--stage cluster\)"):
        recipe.run(made, "pretrain")


def test_analysis_compares_with_labels_and_draws(talks: ContrastivePlan) -> None:
    found = analysis.run(talks)["metrics"]
    assert found["facts"]["emotion"]["speakers"] == len(talks.speech.speakers)
    assert found["facts"]["emotion"]["ami"]["found"] > 0
    assert found["facts"]["sentence"] is None  # the table has no texts
    picture = (analysis.stage_of(talks).folder / analysis.PICTURE).read_text()
    assert "<svg" in picture
    for speaker in talks.speech.speakers:
        assert f">{speaker}<" in picture
    for label in ("neu", "hap", "ang", "sad"):
        assert f">{label}<" in picture
    printed = analysis.printed(talks)
    assert re.search(r"emotion +ami +0\.\d{3}", printed)
    assert "sentence" in printed


def test_analysis_without_labels_says_so(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> None:
    made = plan(tmp_path / "run", cache_root, table(tmp_path / "talks.csv", demo_manifest, None))
    recipe.run(made, "embed")
    recipe.run(made, "analysis")
    assert analysis.run(made)["metrics"]["facts"] == {"emotion": None, "sentence": None}
    assert "not known" in analysis.printed(made)


def test_without_matplotlib_the_rest_is_done(talks: ContrastivePlan, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert analysis.run(talks)["metrics"]["picture"] is False
    assert "pip install 's3prl-emotion[pictures]'" in caplog.text


def test_vectors_that_are_not_finite_are_named(talks: ContrastivePlan) -> None:
    folder = embed.stage_of(talks).folder
    vectors = np.load(folder / embed.VECTORS)
    vectors[3, 1] = np.nan
    save_array(folder / embed.VECTORS, vectors)
    name = talks.speech.utterances[3].id
    with pytest.raises(RunError, match=rf"the vector of '{re.escape(name)}' is not finite \(1 in all\)"):
        embed.read(talks, talks.speech)


def test_damaged_embeddings_and_clusters_are_named(talks: ContrastivePlan) -> None:
    folder = embed.stage_of(talks).folder
    (folder / embed.VECTORS).write_bytes(b"torn")
    with pytest.raises(RunError, match=r"embeddings.npy: cannot be read"):
        embed.read(talks, talks.speech)
    save_array(folder / embed.VECTORS, np.zeros((3, 2), np.float32))
    with pytest.raises(RunError, match=r"does not fit embeddings.json beside it"):
        embed.read(talks, talks.speech)
    with pytest.raises(RunError, match=r"stage cluster with other settings or inputs: inputs\.embeddings was"):
        clustering.stage_of(talks, None).finished()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: lines[:-1], "cluster.json says 80 utterances, found 79"),
        (lambda lines: [lines[1], *lines[1:]], "line 2: .* has a line already"),
        (lambda lines: ["{}", *lines[1:]], "line 1: missing key 'utterance'"),
        (lambda lines: ["nonsense", *lines[1:]], "line 1: not JSON"),
        (lambda lines: [lines[0].replace('"cluster": 0', '"cluster": -1'), *lines[1:]], "cluster must be 0 or more"),
        (lambda lines: [lines[0].replace("talks:", "walks:", 1), *lines[1:]], "has another speaker or other audio"),
        (lambda lines: [lines[0].replace('"talks/', '"walks/', 1), *lines[1:]], "is not in it. Cluster again"),
    ],
    ids=["cut", "twice", "empty", "no JSON", "negative", "speaker", "other"],
)
def test_clusters_that_were_changed_are_refused(
    talks: ContrastivePlan, change: Callable[[list[str]], list[str]], says: str
) -> None:
    folder = clustering.stage_of(talks, None).folder
    lines = (folder / clusters.ROWS).read_text().splitlines()
    (folder / clusters.ROWS).write_text("\n".join(change(lines)) + "\n")
    with pytest.raises(RunError, match=says):
        clusters.read(folder, talks.speech)


def test_speech_without_pairs_is_refused(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> None:
    speech = table(tmp_path / "talks.csv", demo_manifest)
    made = plan(tmp_path / "run", cache_root, speech, changes={"cluster": {"min_utterances": 60}})
    recipe.run(made, "embed")
    with pytest.raises(RunError, match=r"none of 10 speakers gives pairs, such as talks:.*: 8 utterances"):
        recipe.run(made, "cluster")
