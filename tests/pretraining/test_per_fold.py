"""Upstream folders with one model per fold, and what the audit makes of what each of them heard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.protocols import audit, make_folds, protocols
from s3prl_emotion.upstreams.per_fold import folds_of, is_per_fold, of_fold, upstream_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pretraining.json").write_text(json.dumps({"recipe": "flea", "stage": "cpt", "per_fold": True}))
    for fold in (1, 2, 10):
        (tmp_path / f"fold{fold}").mkdir()
    (tmp_path / "fold3x").mkdir()
    return tmp_path


def test_the_folds_model_is_picked(folder: Path) -> None:
    assert is_per_fold(str(folder))
    assert folds_of(str(folder)) == (1, 2, 10)
    assert of_fold(str(folder), 10) == str(folder / "fold10")
    with pytest.raises(UpstreamError, match=r"holds no model for fold 3, which is missing \(folds there: 1, 2, 10\)"):
        of_fold(str(folder), 3)
    with pytest.raises(UpstreamError, match=r"one model per fold \(folds 1, 2, 10\).*name one: -k .*fold1"):
        of_fold(str(folder), None)


def test_other_checkpoints_are_left_alone(folder: Path, tiny_hubert: Path) -> None:
    assert of_fold(None, 1) is None
    assert of_fold(str(tiny_hubert), 1) == str(tiny_hubert)
    assert of_fold("no/such/path", 1) == "no/such/path"
    (folder / "pretraining.json").write_text("{torn")
    with pytest.raises(UpstreamError, match=r"pretraining.json: not valid JSON"):
        is_per_fold(str(folder))


def test_a_fold_that_is_added_does_not_change_the_folder(folder: Path) -> None:
    before = upstream_sha256(str(folder))
    (folder / "fold4").mkdir()
    (folder / "fold4" / "weights").write_text("x")
    assert upstream_sha256(str(folder)) == before
    assert upstream_sha256(str(folder / "fold4")) != before


def test_the_adapter_refuses_the_folder_of_folders(folder: Path) -> None:
    from s3prl_emotion.upstream_patches.cpt_hubert import cpt_hubert

    with pytest.raises(UpstreamError, match="holds one model per fold"):
        cpt_hubert(str(folder))


def test_what_a_folds_model_heard_counts_for_that_fold(demo_manifest: Manifest) -> None:
    from s3prl_emotion.corpora.validation import validate

    manifest, _ = validate(demo_manifest)
    strict, transductive = protocols.get("strict"), protocols.get("strict-transductive")
    folds = make_folds(manifest, strict)

    def part(fold: int, name: str) -> Manifest:
        ids = set(getattr(folds[fold], name))
        return manifest.with_utterances(item for item in manifest.utterances if item.id in ids)

    def kinds(protocol: object, *heard: audit.Pretraining) -> set[tuple[int, str, str]]:
        found = audit.audit(manifest, folds, protocol, heard)  # type: ignore[arg-type]
        return {(item.fold, item.kind, item.status) for item in found if item.kind.startswith("pretraining")}

    assert kinds(strict, audit.Pretraining("own", part(1, "train"), 1)) == set()
    assert kinds(strict, audit.Pretraining("own", part(1, "test"), 2)) == set(), "fold 2 may hear what fold 1 tests on"
    assert kinds(strict, audit.Pretraining("own", part(1, "test"), 1)) == {(1, "pretraining", "leak")}
    assert kinds(strict, audit.Pretraining("own", part(1, "test"))) == {(1, "pretraining", "leak")}
    assert kinds(transductive, audit.Pretraining("own", part(1, "test"), 1)) == {(1, "pretraining", "declared")}
    assert kinds(transductive, audit.Pretraining("own", part(1, "test"), 1, labelled=True)) == {
        (1, "pretraining labels", "leak")
    }
