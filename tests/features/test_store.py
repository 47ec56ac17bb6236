"""The store: what goes in comes out, whatever else writes, dies or fills the disk."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from s3prl_emotion.errors import RunError
from s3prl_emotion.features import extraction
from s3prl_emotion.features.extraction import Waveform, extract, human, make_room, parse_size
from s3prl_emotion.features.lookup import Probe, find_store
from s3prl_emotion.features.management import delete, stores
from s3prl_emotion.features.store import Store, StoreKey, StoreShape
from s3prl_emotion.features.writing import Writer

KEY = StoreKey("tiny", "w", None, None, "hidden_states", None, "frames", "float32", "0.4.18")


PROBE = (np.random.default_rng(0).standard_normal((2, 50, 3), dtype=np.float32),)


def _store(root: Path, probe: Probe = PROBE, **changes) -> Store:
    return find_store(root, dataclasses.replace(KEY, **changes), StoreShape(2, 3, 320), probe)


def _states(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, frames, 3, generator=torch.Generator().manual_seed(seed))


def test_round_trip_and_precision(tmp_path) -> None:
    for dtype in ("float32", "float16"):
        store = _store(tmp_path, dtype=dtype)
        with Writer(store) as writer:
            for frames in (1, 7, 4):
                writer.write(f"u{frames}", _states(frames, frames))
        store.refresh()
        for frames in (7, 1, 4):
            expected = _states(frames, frames).to(store.dtype)
            assert torch.equal(store.read(f"u{frames}"), expected)
        assert len(store) == 3
        assert "u2" not in store


def test_another_reader_sees_what_is_appended(tmp_path) -> None:
    reader, writing = _store(tmp_path), _store(tmp_path)
    with Writer(writing) as writer:
        writer.write("a", _states(3))
        reader.refresh()
        assert torch.equal(reader.read("a"), _states(3))
        writer.write("b", _states(5, 1))
        reader.refresh()
        assert torch.equal(reader.read("b"), _states(5, 1))
        assert torch.equal(reader.read("a"), _states(3))


def test_two_writers_at_once(tmp_path) -> None:
    one, two = _store(tmp_path), _store(tmp_path)
    with Writer(one) as first, Writer(two) as second:
        for number in range(5):
            first.write(f"a{number}", _states(3, number))
            second.write(f"b{number}", _states(4, number))
    fresh = _store(tmp_path)
    assert len(fresh) == 10
    assert all(torch.equal(fresh.read(f"b{number}"), _states(4, number)) for number in range(5))


def test_torn_writes_are_not_believed(tmp_path) -> None:
    store = _store(tmp_path)
    with Writer(store) as writer:
        writer.write("a", _states(3))
        writer.write("b", _states(4, 1))
    data, index = next(store.folder.glob("data-*.bin")), next(store.folder.glob("index-*.jsonl"))
    data.write_bytes(data.read_bytes()[:-1])
    with index.open("a") as file:
        file.write('{"key":"c","offset":0,"fra')
    fresh = _store(tmp_path)
    assert "a" in fresh
    assert "b" not in fresh
    assert "c" not in fresh


def _write_until_killed(root: Path) -> None:
    store = _store(root)
    with Writer(store) as writer:
        for number in range(10**6):
            writer.write(f"u{number}", _states(50, number % 7))


def test_a_killed_writer_leaves_whole_entries(tmp_path) -> None:
    store = _store(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=_write_until_killed, args=(tmp_path,))
    process.start()
    while len(store) < 20:
        store.refresh()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    fresh = _store(tmp_path)
    assert len(fresh) >= 20
    for number in range(len(fresh)):
        assert torch.equal(fresh.read(f"u{number}"), _states(50, number % 7))
    with Writer(fresh) as writer:
        writer.write("after", _states(2))
    fresh.refresh()
    assert torch.equal(fresh.read("after"), _states(2))


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "other"},
        {"upstream": "other"},
        {"layer": 1},
        {"selection": "last_hidden_state"},
        {"form": "mean"},
        {"dtype": "float16"},
        {"checkpoint_sha256": "x"},
        {"schema": 99},
    ],
)
def test_whatever_the_entries_depend_on_has_its_own_store(tmp_path, change) -> None:
    assert _store(tmp_path).folder != _store(tmp_path, **change).folder


def test_other_shapes_are_refused(tmp_path) -> None:
    store = _store(tmp_path)
    with Writer(store) as writer, pytest.raises(RunError, match=r"expected states \(2, frames, 3\), got \(2, 5, 4\)"):
        writer.write("a", torch.zeros(2, 5, 4))


def test_values_that_half_precision_cannot_hold(tmp_path) -> None:
    with Writer(_store(tmp_path, dtype="float16")) as writer:
        with pytest.raises(RunError, match="use --cache-dtype float32"):
            writer.write("a", torch.full((2, 1, 3), 1e5))
        with pytest.raises(RunError, match="check the audio and the checkpoint"):
            writer.write("a", torch.full((2, 1, 3), float("nan")))


def _utterances(count: int) -> list[Waveform]:
    def read(number: int):
        return lambda: np.full(3200, number, dtype=np.float32)

    return [Waveform(f"u{number}", 0.2, read(number)) for number in range(count)]


def _compute(waveform: torch.Tensor) -> torch.Tensor:
    return waveform[:1].expand(2, 10, 3).contiguous()


def test_extraction_goes_on_where_it_was_interrupted(tmp_path) -> None:
    store, calls = _store(tmp_path), []

    def interrupted(waveform: torch.Tensor) -> torch.Tensor:
        calls.append(float(waveform[0]))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return _compute(waveform)

    with pytest.raises(KeyboardInterrupt):
        extract(store, _utterances(10), interrupted, "cpu")
    fresh = _store(tmp_path)
    assert len(fresh) == 5
    assert extract(fresh, _utterances(10), _compute, "cpu") == 5
    assert extract(fresh, _utterances(10), _compute, "cpu") == 0
    assert [float(fresh.read(f"u{number}")[0, 0, 0]) for number in range(10)] == list(range(10))


def test_what_has_one_content_is_extracted_once(tmp_path) -> None:
    assert extract(_store(tmp_path), [*_utterances(3), *_utterances(3)], _compute, "cpu") == 3


def test_a_full_disk_is_said_before_work_starts(tmp_path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RunError, match=r"need \d+\.\d kB in .* where 100 B are free.*--cache-root"):
        extract(_store(tmp_path), _utterances(10), _compute, "cpu")


def test_the_limit_deletes_what_was_used_longest_ago_but_nothing_in_use(tmp_path) -> None:
    names = []
    for number, weights in enumerate(("old", "older", "used")):
        store = _store(tmp_path, weights=weights)
        with Writer(store) as writer:
            writer.write("a", _states(100))
        names.append(store.folder.name)
        if weights != "used":
            store.close()  # as a process that has ended
        os.utime(store.folder / ".lock", (1000 - number, 1000 - number))
    mine = _store(tmp_path, weights="mine")
    size = stores(tmp_path)[0].bytes
    make_room(mine, size, limit_bytes=3 * size)
    assert {info.name for info in stores(tmp_path)} == {names[0], names[2], mine.folder.name}
    with pytest.raises(RunError, match="above --cache-limit"):
        make_room(mine, 3 * size, limit_bytes=3 * size)
    assert names[2] in {info.name for info in stores(tmp_path)}


def test_a_store_in_use_is_not_deleted(tmp_path) -> None:
    store = _store(tmp_path)
    name = store.folder.name
    assert not delete(tmp_path, name)
    store.close()
    assert delete(tmp_path, name)
    assert not store.folder.exists()


def test_an_unreadable_description(tmp_path) -> None:
    store = _store(tmp_path)
    (store.folder / "key.json").write_text("{")
    with pytest.raises(RunError, match=r"key\.json: not readable"):
        _store(tmp_path)
    (store.folder / "key.json").write_text(json.dumps({"layers": 2}))
    with pytest.raises(RunError, match="delete the folder"):
        _store(tmp_path)


@pytest.mark.parametrize(("text", "size"), [("100G", 100 * 10**9), ("500 MB", 5 * 10**8), ("1e9", 10**9), ("2k", 2000)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "much"])
def test_other_sizes(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


def test_sizes_in_words() -> None:
    assert [human(size) for size in (12, 1.5e3, 65.1e9, 2e12)] == ["12 B", "1.5 kB", "65.1 GB", "2.0 TB"]
