"""`superb` against S3PRL itself: its own preprocessing and its own expert on a folder in IEMOCAP's layout."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path

import pytest

import s3prl_emotion
from s3prl_emotion.corpora import corpora
from s3prl_emotion.protocols import make_folds


@pytest.fixture
def preprocessed(tmp_path, demo_root, monkeypatch):
    """The demo corpus with `meta_data` made by S3PRL, its label files in an order that no sorting gives."""
    s3prl_emotion.register()
    module = importlib.import_module("s3prl.downstream.emotion.IEMOCAP_preprocess")
    shutil.copytree(demo_root, tmp_path / "corpus")
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(listdir(path), key=lambda name: name[::-1], reverse=True))
    module.main(str(tmp_path / "corpus"))
    monkeypatch.undo()
    return tmp_path / "corpus"


def test_train_dev_and_test_of_every_fold_are_s3prls_in_its_order(preprocessed, tmp_path):
    expert = importlib.import_module("s3prl.downstream.emotion.expert").DownstreamExpert
    manifest = corpora.get("superb_metadata").read(preprocessed)
    folds = make_folds(manifest, "superb")
    assert [fold.number for fold in folds.folds] == [1, 2, 3, 4, 5]
    for fold in folds.folds:
        config = {
            "datarc": {
                "root": str(preprocessed),
                "meta_data": str(preprocessed / "meta_data"),
                "test_fold": f"fold{fold.number}",
                "pre_load": False,
                "valid_ratio": 0.2,
                "train_batch_size": 4,
                "eval_batch_size": 4,
                "num_workers": 0,
            },
            "modelrc": {"projector_dim": 4, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}},
        }
        stock = expert(upstream_dim=4, downstream_expert=config, expdir=str(tmp_path))

        def ids(subset):
            entries = getattr(subset, "dataset", subset).meta_data
            indices = getattr(subset, "indices", range(len(entries)))
            return tuple(Path(entries[index]["path"]).stem for index in indices)

        assert (fold.train, fold.dev, fold.test) == tuple(
            ids(getattr(stock, f"{part}_dataset")) for part in ("train", "dev", "test")
        )
    by_name = make_folds(corpora.get("iemocap").read(preprocessed), "superb")
    assert by_name[1].train != folds[1].train  # the division does depend on the order of the lists
