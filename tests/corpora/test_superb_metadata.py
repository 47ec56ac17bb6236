"""S3PRL's metadata: order, speakers, contradictions."""

from __future__ import annotations

import json
import random

import pytest

from s3prl_emotion.corpora import corpora
from s3prl_emotion.errors import CorpusError

LABELS = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}


def entry(name, label):
    path = f"Session{int(name[3:5])}/sentences/wav/{name.rpartition('_')[0]}/{name}.wav"
    return {"path": path, "label": label, "speaker": name.split("_")[0]}


def write_metadata(folder, sessions=(1, 2, 3), per_class=4, order_seed=3):
    """Metadata of fabricated sessions; training lists in an order of their own. Returns what was written, by fold."""
    tests = {
        k: [
            entry(f"Ses{k:02d}F_impro{n:02d}_{'FM'[n % 2]}{c:03d}", label)
            for n in range(per_class)
            for c, label in enumerate(LABELS)
        ]
        for k in sessions
    }
    lists = {}
    shuffler = random.Random(order_seed)
    for k in sessions:
        train = [item for other in sessions if other != k for item in tests[other]]
        shuffler.shuffle(train)
        lists[k] = {"train": train, "test": tests[k]}
        for part, items in lists[k].items():
            path = folder / f"Session{k}" / f"{part}_meta_data.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"labels": LABELS, "meta_data": items}))
    return lists


def test_orders_and_speakers(tmp_path):
    lists = write_metadata(tmp_path / "meta_data")
    manifest = corpora.get("superb_metadata").read(tmp_path)
    assert manifest.labels == ("neu", "hap", "ang", "sad")
    for fold, parts in lists.items():
        names = {part: tuple(item["path"].split("/")[-1][:-4] for item in items) for part, items in parts.items()}
        assert manifest.train_order[fold] == names["train"]
        assert tuple(u.id for u in manifest.utterances if u.fold == fold) == names["test"]
    first = manifest.by_id["Ses01F_impro01_M000"]
    assert (first.speaker, first.session, first.fold) == ("Ses01M", "Session1", 1)
    assert manifest.by_id["Ses01F_impro00_F000"].speaker == "Ses01F"


def test_metadata_elsewhere_and_one_fold_only(tmp_path):
    write_metadata(tmp_path / "lists")
    for k in (2, 3):
        for file in (tmp_path / "lists" / f"Session{k}").iterdir():
            file.unlink()
        (tmp_path / "lists" / f"Session{k}").rmdir()
    (tmp_path / "data").mkdir()
    manifest = corpora.get("superb_metadata").read(tmp_path / "data", meta_data=tmp_path / "lists")
    assert manifest.root == (tmp_path / "data").as_posix()
    assert list(manifest.train_order) == [1]
    assert {u.fold for u in manifest.utterances} == {1, None}


def test_names_of_another_form_keep_the_given_speaker(tmp_path):
    lists = write_metadata(tmp_path / "meta_data", sessions=(1,))
    items = [{**item, "path": f"wav/c{n}.wav", "speaker": "anna"} for n, item in enumerate(lists[1]["test"])]
    for part in ("train", "test"):
        path = tmp_path / "meta_data" / "Session1" / f"{part}_meta_data.json"
        path.write_text(json.dumps({"labels": LABELS, "meta_data": items}))
    first = corpora.get("superb_metadata").read(tmp_path).utterances[0]
    assert (first.speaker, first.session) == ("anna", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["meta_data"][2].pop("label"), "entry 2: key 'label': expected a text"),
        (
            lambda c: c["meta_data"][2].update(label="sda"),
            "entry 2: key 'label': unknown label 'sda'. Did you mean 'sad'",
        ),
        (lambda c: c.pop("meta_data"), "key 'meta_data': expected a list"),
        (lambda c: c["labels"].update(neu=7), "key 'labels': expected class indices"),
        (lambda c: c["labels"].update(neu=1, hap=0), "key 'labels': .* in another list"),
        (lambda c: c["meta_data"].append(c["meta_data"][0]), "appears twice"),
        (lambda c: c["meta_data"][0].update(path="x/" + c["meta_data"][0]["path"]), "in another list. Make"),
    ],
)
def test_errors_name_file_and_entry(tmp_path, change, words):
    write_metadata(tmp_path / "meta_data")
    path = tmp_path / "meta_data" / "Session3" / "train_meta_data.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(CorpusError, match=words) as caught:
        corpora.get("superb_metadata").read(tmp_path)
    assert "Session3" in str(caught.value)


def test_missing_and_broken_files(tmp_path):
    write_metadata(tmp_path / "meta_data")
    path = tmp_path / "meta_data" / "Session2" / "test_meta_data.json"
    path.write_text("{")
    with pytest.raises(CorpusError, match=r"Session2/test_meta_data\.json: not JSON"):
        corpora.get("superb_metadata").read(tmp_path)
    path.write_text((tmp_path / "meta_data" / "Session1" / "test_meta_data.json").read_text())
    with pytest.raises(CorpusError, match="is in the test list of two folds"):
        corpora.get("superb_metadata").read(tmp_path)
    path.unlink()
    with pytest.raises(CorpusError, match=r"Session2/test_meta_data\.json: no such file"):
        corpora.get("superb_metadata").read(tmp_path)
