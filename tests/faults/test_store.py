"""Stores of hidden states that were damaged, torn, filled or killed: no wrong state is trained on, none is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from faults.campaign import Fault, hold, table
from s3prl_emotion.errors import RunError
from s3prl_emotion.features import writing as writing_module
from s3prl_emotion.features.extraction import Waveform, extract
from s3prl_emotion.features.lookup import find_store
from s3prl_emotion.features.management import delete, stores, verify
from s3prl_emotion.features.store import DamagedEntry, Store, StoreKey, StoreShape
from s3prl_emotion.features.upstream import CachedUpstream, ticket
from s3prl_emotion.features.writing import Writer

pytestmark = pytest.mark.slow

KEY = StoreKey("tiny", "w", None, None, "hidden_states", None, "frames", "float32", "0.4.18")
PROBE = (np.random.default_rng(0).standard_normal((2, 50, 3), dtype=np.float32),)
COUNT = 12


def _store(root: Path) -> Store:
    return find_store(root, KEY, StoreShape(2, 3, 320), PROBE)


def _states(number: int) -> torch.Tensor:
    return torch.randn(2, 10 + number, 3, generator=torch.Generator().manual_seed(number))


def _compute(waveform: torch.Tensor) -> torch.Tensor:
    return _states(int(waveform[0]))


def _utterances(count: int = COUNT) -> list[Waveform]:
    def read(number: int) -> Callable[[], np.ndarray]:
        return lambda: np.full(3200, number, dtype=np.float32)

    return [Waveform(f"u{number}", 0.2, read(number)) for number in range(count)]


def _cached(store: Store, count: int = COUNT) -> CachedUpstream:
    keys = [f"u{number}" for number in range(count)]
    return CachedUpstream(store, keys, again=_states)


def _filled(root: Path) -> Path:
    store = _store(root)
    extract(store, _utterances(), _compute, "cpu")
    store.close()
    return store.folder


def _zero_half(data: bytearray) -> None:
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)


def _flip(place: float) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[int(len(data) * place)] ^= 1

    return change


def _cut(share: float) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        del data[int(len(data) * share) :]

    return change


DATA: dict[str, Callable[[bytearray], None]] = {
    "half of it zeroed": _zero_half,
    "all zeros": lambda data: data.__setitem__(slice(None), bytes(len(data))),
    "empty": lambda data: data.clear(),
    **{f"a bit flipped at {place}": _flip(place) for place in (0.0, 0.1, 0.37, 0.5, 0.93)},
    **{f"cut at {share}": _cut(share) for share in (0.05, 0.5, 0.99)},
    "a byte put in": lambda data: data.insert(40, 1),
    "a page repeated": lambda data: data.__setitem__(slice(0, 512), data[512:1024]),
    "longer": lambda data: data.extend(bytes(5000)),
}


@pytest.mark.parametrize("name", DATA)
def test_damaged_data_is_computed_again(name: str, tmp_path: Path) -> None:
    """Whatever happens to the bytes, training gets the states that the upstream gives, and the store has them after."""
    folder = _filled(tmp_path)
    path = next(folder.glob("data-*.bin"))
    content = bytearray(path.read_bytes())
    DATA[name](content)
    path.write_bytes(content)
    store = _store(tmp_path)
    extract(store, _utterances(), _compute, "cpu")
    cached = _cached(store)
    for number in range(COUNT):
        assert torch.equal(cached.block(ticket(number)), _states(number)), number
    store.close()
    fresh = _store(tmp_path)
    assert all(torch.equal(fresh.read(f"u{number}"), _states(number)) for number in range(COUNT))


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def spoil(index: Path) -> None:
        lines = index.read_text().splitlines()
        item = json.loads(lines[3])
        change(item)
        lines[3] = json.dumps(item)
        index.write_text("\n".join(lines) + "\n")

    return spoil


def _set(**values: object) -> Callable[[Path], None]:
    return _edit(lambda item: item.update(values))


def _line(text: bytes) -> Callable[[Path], None]:
    return lambda index: index.write_bytes(text + b"\n" + index.read_bytes())


INDEX: dict[str, Callable[[Path], None]] = {
    "empty": lambda index: index.write_bytes(b""),
    "gone": lambda index: index.unlink(),
    "torn": lambda index: index.write_bytes(index.read_bytes()[:-9]),
    "half of it": lambda index: index.write_bytes(index.read_bytes()[: index.stat().st_size // 2]),
    "zeros": lambda index: index.write_bytes(bytes(index.stat().st_size)),
    "one line end lost": lambda index: index.write_bytes(index.read_bytes().replace(b"\n", b"", 1)),
    "no UTF-8": _line(b"\xff\xfe"),
    "no JSON": _line(b"{"),
    "a list": _line(b"[1, 2]"),
    "a number": _line(b"7"),
    "deep": _line(b"[" * 100_000),
    "a line of nulls": _line(b"null"),
    "offset negative": _set(offset=-64),
    "offset between": _set(offset=13),
    "offset of another": _set(offset=0),
    "offset beyond": _set(offset=1 << 40),
    "offset huge": _set(offset=10**30),
    "offset a text": _set(offset="0"),
    "offset a fraction": _set(offset=64.5),
    "offset null": _set(offset=None),
    "frames 0": _set(frames=0),
    "frames negative": _set(frames=-3),
    "frames fewer": _set(frames=2),
    "frames more": _set(frames=20),
    "frames huge": _set(frames=10**20),
    "frames true": _set(frames=True),
    "checksum another": _set(crc32=1),
    "checksum gone": _edit(lambda item: item.pop("crc32")),
    "checksum a text": _set(crc32="1"),
    "key of another": _set(key="u7"),
    "key unknown": _set(key="nobody"),
    "key a list": _set(key=[1]),
    "key gone": _edit(lambda item: item.pop("key")),
    "key a lone surrogate": _set(key="\ud800"),
    "twice": lambda index: index.write_bytes(index.read_bytes() * 2),
}


@pytest.mark.parametrize("name", INDEX)
def test_a_damaged_index_gives_no_wrong_state(name: str, tmp_path: Path) -> None:
    folder = _filled(tmp_path)
    INDEX[name](next(folder.glob("index-*.jsonl")))
    store = _store(tmp_path)
    extract(store, _utterances(), _compute, "cpu")
    cached = _cached(store)
    for number in range(COUNT):
        assert torch.equal(cached.block(ticket(number)), _states(number)), number


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a folder like an index": lambda folder: (folder / "index-x.jsonl").mkdir(),
    "a folder like data": lambda folder: (
        (folder / "data-x.bin").mkdir(),
        (folder / "index-x.jsonl").write_text('{"key":"u0","offset":0,"frames":10,"crc32":0}\n'),
    ),
    "an index without data": lambda folder: (folder / "index-x.jsonl").write_text(
        '{"key":"u0","offset":0,"frames":10,"crc32":0}\n'
    ),
    "other files": lambda folder: (folder / "notes.txt").write_text("mine"),
    "a link to nothing": lambda folder: (folder / "index-x.jsonl").symlink_to("nowhere"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_do_no_harm(name: str, tmp_path: Path) -> None:
    folder = _filled(tmp_path)
    FOREIGN[name](folder)
    store = _store(tmp_path)
    assert extract(store, _utterances(), _compute, "cpu") == 0
    assert all(torch.equal(_cached(store).block(ticket(number)), _states(number)) for number in range(COUNT))


def test_files_of_another_store_are_not_believed(tmp_path: Path) -> None:
    """Same shapes, same utterances, another upstream: checksums know whose states they are."""
    folder = _filled(tmp_path)
    other = find_store(tmp_path, StoreKey(**{**KEY.__dict__, "weights": "other"}), StoreShape(2, 3, 320), PROBE)
    for path in (*folder.glob("data-*"), *folder.glob("index-*")):
        (other.folder / path.name).write_bytes(path.read_bytes())
    other.refresh()
    with pytest.raises(DamagedEntry, match=r"the stored states of utterance u3 are damaged"):
        other.read("u3")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"layers": 2}', '{"upstream": 1, "layers": "x"}', "\ud800"]
)
def test_a_description_that_cannot_be_read(content: str, tmp_path: Path) -> None:
    folder = _filled(tmp_path)
    (folder / "key.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(RunError, match=r"key\.json: not readable .*; delete the folder"):
        _store(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", bytes(500)])
def test_a_damaged_probe_is_not_believed(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _filled(tmp_path)
    (folder / "probe.npz").write_bytes(content)
    store = _store(tmp_path)
    assert "its probe.npz is damaged" in caplog.text
    extract(store, _utterances(), _compute, "cpu")
    assert all(torch.equal(store.read(f"u{number}"), _states(number)) for number in range(COUNT))


def _work(root: Path, number: int) -> None:
    store = _store(root)
    extract(store, _utterances(40), _compute, "cpu")
    cached = _cached(store, 40)
    for index in range(40):
        if not torch.equal(cached.block(ticket(index)), _states(index)):
            os._exit(3)
    os._exit(0)


def _start(target: Callable[..., None], *args: object, count: int) -> list[int | None]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=(*args, number)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
    return [process.exitcode for process in processes]


def test_eight_processes_on_one_store(tmp_path: Path) -> None:
    assert _start(_work, tmp_path, count=8) == [0] * 8
    (info,) = stores(tmp_path)
    assert info.entries == 40
    assert verify(tmp_path / info.name) == (40, [])


def _delete_all(root: Path, names: list[str], _: int) -> None:
    for name in names:
        if not delete(root, name):
            os._exit(4)
    stores(root)
    os._exit(0)


def test_several_processes_delete_the_same_stores(tmp_path: Path) -> None:
    names = []
    for number in range(60):
        store = find_store(tmp_path, StoreKey(**{**KEY.__dict__, "weights": str(number)}), StoreShape(2, 3, 320), PROBE)
        with Writer(store) as writer:
            writer.write("u0", _states(0))
        store.close()
        names.append(store.folder.name)
    assert _start(_delete_all, tmp_path, names, count=4) == [0] * 4
    assert stores(tmp_path) == []


def test_a_store_that_another_process_deletes_is_made_again(tmp_path: Path) -> None:
    folder = _filled(tmp_path)
    assert delete(tmp_path, folder.name)
    assert delete(tmp_path, folder.name), "deleted is deleted"
    assert extract(_store(tmp_path), _utterances(), _compute, "cpu") == COUNT


POINTS = ("data", "half of the data", "index", "half of the index", "sync")


def _killed_at(root: Path, point: str) -> None:
    real, calls = writing_module._write_all, [0]

    def write_all(file: object, content: bytes) -> None:
        calls[0] += 1
        is_index = "index-" in str(file.name)  # type: ignore[attr-defined]
        if calls[0] > 8 and is_index == ("index" in point) and point != "sync":
            if "half" in point:
                real(file, content[: len(content) // 2])  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGKILL)
        real(file, content)  # type: ignore[arg-type]

    writing_module._write_all = write_all
    if point == "sync":
        writing_module._SYNC_S = 0.0
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    extract(_store(root), _utterances(), _compute, "cpu")


@pytest.mark.parametrize("point", POINTS)
def test_a_writer_killed_at(point: str, tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_killed_at, args=(tmp_path, point))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    store = _store(tmp_path)
    kept = len(store)
    assert kept >= (0 if point == "sync" else 4), "what was written before is kept"
    assert extract(store, _utterances(), _compute, "cpu") == COUNT - kept
    assert all(torch.equal(store.read(f"u{number}"), _states(number)) for number in range(COUNT))


def _limited(root: Path, size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = _store(root)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        extract(store, _utterances(), _compute, "cpu")
    except RunError as error:
        text = str(error)
        good = text.startswith(str(store.folder)) and "--cache-root DIR" in text and "What is stored is kept" in text
        os._exit(0 if good else 5)
    os._exit(6)


@pytest.mark.parametrize("size", [0, 100, 1000, 3000])
def test_a_disk_that_fills_up(size: int, tmp_path: Path) -> None:
    """A quota of bytes for a file: the message says what to do, and the same command goes on."""
    _store(tmp_path).close()
    process = multiprocessing.get_context("spawn").Process(target=_limited, args=(tmp_path, size))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    store = _store(tmp_path)
    extract(store, _utterances(), _compute, "cpu")
    assert all(torch.equal(store.read(f"u{number}"), _states(number)) for number in range(COUNT))


def test_what_a_crash_left_is_cleared_away_at_the_next_start(tmp_path: Path) -> None:
    folder = _filled(tmp_path)
    dead = [folder / ".key.json.0f.tmp", folder / "data-dead.bin"]
    for path in dead:
        path.write_bytes(b"x")
    (tmp_path / ".deleted-0f").mkdir()
    (tmp_path / ".deleted-0f" / "data-x.bin").write_bytes(b"x")
    living = Writer(_store(tmp_path))
    _store(tmp_path)
    assert not any(path.exists() for path in (*dead, tmp_path / ".deleted-0f"))
    assert len(list(folder.glob("data-*.bin"))) == 2, "that of a writer at work stays"
    living.write("new", _states(1))
    living.__exit__(None, None, None)
    assert torch.equal(_store(tmp_path).read("new"), _states(1))


READ_ONLY = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from faults.test_store import COUNT, _cached, _compute, _states, _store, _utterances
    from s3prl_emotion.features.extraction import extract
    from s3prl_emotion.features.upstream import ticket
    import torch
    root = Path({root!r})
    try:
        (root / "x").touch()
        sys.exit(9)
    except OSError:
        pass
    store = _store(root)
    assert extract(store, _utterances(), _compute, "cpu") == 0
    assert all(torch.equal(_cached(store).block(ticket(number)), _states(number)) for number in range(COUNT))
    try:
        extract(store, _utterances(COUNT + 1), _compute, "cpu")
    except Exception as error:
        assert "hidden states cannot be written" in str(error) and "--cache-root DIR" in str(error), error
        sys.exit(0)
    sys.exit(8)
    """
)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_complete_store_is_read_from_a_disk_that_cannot_be_written(damaged: bool, tmp_path: Path) -> None:
    """On a mount that is read-only, to the superuser too. A damaged entry is computed again, and kept in memory."""
    root = tmp_path / "cache"
    folder = _filled(root)
    if damaged:
        path = next(folder.glob("data-*.bin"))
        content = bytearray(path.read_bytes())
        _flip(0.5)(content)
        path.write_bytes(content)
    script = READ_ONLY.format(tests=str(Path(__file__).parents[1]), root=str(root))
    mount = f'mount --bind "{root}" "{root}" && mount -o remount,ro,bind "{root}" && exec "{sys.executable}" -c "$0"'
    probe = subprocess.run(["unshare", "-rm", "sh", "-c", f'mount --bind "{root}" "{root}"'], capture_output=True)
    if probe.returncode:
        pytest.skip("this machine lets nobody mount")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", mount, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def _spoil_all(here: Path) -> None:
    for path in here.glob("cache/*/data-*.bin"):
        content = bytearray(path.read_bytes())
        _zero_half(content)
        path.write_bytes(content)


@table(
    Fault("no such store", ("cache", "verify", "nothing", "--cache-root", "{here}/cache"), ("no such store",)),
    Fault("no such store to clear", ("cache", "clear", "nothing", "--cache-root", "{here}/cache"), ("no such store",)),
    *(
        Fault(
            f"--cache-limit {size!r}",
            ("run", "-u", "fbank", "-d", "emotion_mean", "--demo", f"--cache-limit={size}"),
            ("--cache-limit", "expected a size"),
        )
        for size in ("inf", "-inf", "nan", "1e400", "-1G", "0", "", "G", "1e-9", "ten", "1GG", "infK", "100 000")
    ),
    *(
        Fault(
            f"--cache-device {device!r}",
            ("run", "-u", "fbank", "-d", "emotion_mean", "--demo", f"--cache-device={device}"),
            ("--cache-device",),
        )
        for device in ("cuda|foo", "foo", "", "meta", "cuda:99", "cuda:-1", "cpu:x", "mps")
    ),
    Fault(
        "--cache-root is a file",
        (
            "run",
            "-u",
            "fbank",
            "-d",
            "emotion_mean",
            "--corpus",
            "demo",
            "--data",
            "{corpus}",
            "--cache-root",
            "{here}/f",
        ),
        ("/f", "cannot be written"),
        lambda here: (here / "f").write_text("x"),
    ),
)
def test_options_of_the_store(fault: Fault, tmp_path: Path, demo_root: Path, capsys) -> None:
    hold(fault, tmp_path, capsys, corpus=demo_root)


def test_a_run_on_a_damaged_store_is_the_run_on_a_good_one(run, tmp_path: Path, capsys) -> None:
    """Half of the data zeroed: the entries are named and computed again, and every prediction is the same."""
    from s3prl_emotion.cli import main

    options = ("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1", "--cache-root", str(tmp_path / "cache"))
    assert run(*options, folder=tmp_path / "good") == 0
    _spoil_all(tmp_path)
    capsys.readouterr()
    assert main(["cache", "verify", "--cache-root", str(tmp_path / "cache")]) == 2
    assert "damaged; a run that needs its states computes them again" in capsys.readouterr().out
    assert run(*options, folder=tmp_path / "damaged") == 0
    said = capsys.readouterr().err
    assert "are damaged: their checksum is wrong" in said
    assert "are computed again" in said
    one, other = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("good", "damaged"))
    assert one == other
    assert main(["cache", "verify", "--cache-root", str(tmp_path / "cache")]) == 0
