"""Where a checkpoint of S3PRL's own entries may come from: no way in executes what a file brings along."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from s3prl.util import download

from s3prl_emotion.errors import EmotionError, UpstreamError
from s3prl_emotion.s3prl_runner import guard, upstream_registry
from s3prl_emotion.s3prl_runner.building import register_on_hub
from s3prl_emotion.upstreams import verification
from s3prl_emotion.upstreams.reference import Places, UpstreamOrigin, UpstreamRef, place_of
from s3prl_emotion.upstreams.resolution import resolve
from s3prl_emotion.upstreams.trust import trusted_checkpoints

MARKER = "EXECUTED"
ENTRIES = sorted(
    name
    for name, ours in upstream_registry.upstream_names().items()
    if not ours and name.endswith(guard.TAKES_CHECKPOINT)
)
URLS = [name for name in ENTRIES if name.endswith("_url")]


class Touch:
    """Unpickled, it leaves the marker in the working folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (f"open({MARKER!r}, 'w').close()",)


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with code in it; S3PRL's downloads go to the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "_download_dir", tmp_path / "downloads")
    monkeypatch.setattr(guard, "_downloaded", set())
    path = tmp_path / "evil.ckpt"
    torch.save({"Config": {"distiller": {}, "transformer": {}}, "Settings": Touch(), "model": Touch()}, path)
    return path


@pytest.fixture
def server(evil: Path) -> Iterator[str]:
    """A server on this machine: the checkpoint, and redirections to it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            targets = {"/to-file": f"file://{evil}", "/to-ftp": "ftp://127.0.0.1:1/evil", "/to-http": "/evil.ckpt"}
            if self.path in targets:
                self.send_response(302)
                self.send_header("Location", targets[self.path])
                self.end_headers()
                return
            content = evil.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def _tries(evil: Path, host: str) -> list[str]:
    """Texts that lead to the checkpoint, or could be taken to."""
    place = f"file://{evil}"
    return [
        *(place, f"file:{evil}", f"FILE://{evil}", f"File://localhost{evil}", f"file:///..{evil}", f"file:///./{evil}"),
        *(f" {place}", f"\t{place}", f"\n{place}", f"\x00{place}", f"\x1f{place}", f"{place} ", f"fi\nle://{evil}"),
        *(f"<URL:{place}>", f"<{place}>", f"URL:{place}", f"url:{place}", f"%66ile://{evil}", f"file%3a//{evil}"),
        *(f"local_file://{evil}", f"jar:{place}!/x", f"data:application/octet-stream;base64,{'gASV' * 9}"),
        *("ftp://127.0.0.1:1/evil.ckpt", "s3://bucket/evil.ckpt", f"//{host}/evil.ckpt", f"///{host}/evil.ckpt"),
        *(f"http:{evil}", f"http:///{evil}", f"http:/{host}/evil.ckpt", f"http:\\\\{host}\\evil.ckpt", "http://"),
        *(f"http://{host}/evil.ckpt", f"HTTP://{host}/evil.ckpt", f"hTTp://{host}/%65vil.ckpt?dl=1#x"),
        *(f"http://user:word@{host}/evil.ckpt", f"http://{host}/to-file", f"http://{host}/to-ftp"),
        *(f"http://{host}/to-http", "http://[::1", "http://127.0.0.1:99999/evil.ckpt", "https\x3a//\u0131/evil"),
        *(str(evil), f"./{evil.name}", evil.name, "", "x" * 5000, "httpx", "\u202efile"),
    ]


@pytest.mark.parametrize("name", ENTRIES)
def test_no_text_executes_what_lies_there(name: str, evil: Path, server: str) -> None:
    for text in _tries(evil, server):
        for config in (None, text):
            with pytest.raises(EmotionError):
                register_on_hub(resolve(name, text, config))
            with pytest.raises(EmotionError):  # S3PRL's Runner, and S3PRLUpstream
                getattr(upstream_registry.hub(), name)(ckpt=text, model_config=config, refresh=True)
        with pytest.raises(EmotionError):
            getattr(upstream_registry.hub(), name)(text)
        assert not Path(MARKER).exists(), text


@pytest.mark.parametrize("name", ["mockingjay_url", "distiller_local", "hubert_custom"])
def test_the_s3prl_upstream_of_python_is_guarded(name: str, evil: Path) -> None:
    from s3prl.nn import S3PRLUpstream

    upstream_registry.hub()
    for text in (f"file://{evil}", str(evil)):
        with pytest.raises(UpstreamError):
            S3PRLUpstream(name, path_or_url=text)
    assert not Path(MARKER).exists()


def test_every_entry_that_takes_a_checkpoint_is_guarded() -> None:
    hub = upstream_registry.hub()
    bare = [name for name in ENTRIES if not hasattr(getattr(hub, name), "__wrapped__")]
    assert len(ENTRIES) > 50
    assert bare == []
    assert upstream_registry.hub().mockingjay_url.__wrapped__.__module__ == "s3prl.upstream.mockingjay.hubconf"


def test_what_would_unpickle_builds_plain_values_even_where_the_check_saw_another_file(
    evil: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3PRL's ``weights_only=False`` is overruled: a file that changes after the check executes nothing either."""
    monkeypatch.setattr("s3prl_emotion.upstreams.expressions.check_s3prl_file", lambda _: {})
    for name in ("mockingjay_local", "distiller_local", "tera_local", "audio_albert_local"):
        with pytest.raises(Exception, match=r"Weights only load failed|Config|weights"):
            getattr(upstream_registry.hub(), name)(ckpt=str(evil))
    assert not Path(MARKER).exists()


@pytest.mark.parametrize("name", URLS)
def test_an_entry_that_downloads_takes_addresses_alone(name: str, evil: Path) -> None:
    with pytest.raises(UpstreamError, match=r"evil.ckpt: -u \w+_url downloads, and this is no address of http"):
        guard.check_given(name, str(evil), None)


def test_a_file_entry_takes_no_address(evil: Path) -> None:
    with pytest.raises(UpstreamError, match=r"https://h/x: this is an address, and -u hubert_local reads a file"):
        guard.check_given("hubert_local", "https://h/x", None)
    with pytest.raises(UpstreamError, match=r"-g https://h/x: this is an address, and -u baseline_local reads a file"):
        guard.check_given("baseline_local", None, "https://h/x")
    with pytest.raises(UpstreamError, match=r"file:///x: this is no address of http or https, and -u hubert_custom"):
        guard.check_given("hubert_custom", "file:///x", None)


def test_an_address_is_downloaded_once_and_given_as_it_was_checked(
    evil: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def hubert_url(**given: Any) -> torch.nn.Module:
        seen.append(given)
        return torch.nn.Identity()

    torch.save({"task_cfg": {}, "model_cfg": {}, "model_weight": {}}, evil)
    monkeypatch.setattr(upstream_registry.hub(), "hubert_url", guard.guarded("hubert_url", hubert_url))
    address = f"HTTP://{server}/evil.ckpt"
    register_on_hub(resolve("hubert_url", address, None), refresh=True)
    evil.write_bytes(b"another")
    upstream_registry.hub().hubert_url(ckpt=address, refresh=True)
    assert seen == [{"ckpt": f"http://{server}/evil.ckpt", "refresh": False}]


def test_a_path_that_s3prl_would_take_for_an_address(evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    torch.save({"model_cfg": {}}, "http_model.ckpt")
    call = guard.guarded("hubert_custom", lambda ckpt: seen.append(ckpt))
    monkeypatch.setattr(upstream_registry.hub(), "hubert_custom", call)
    call("http_model.ckpt")
    assert seen == [str(evil.parent / "http_model.ckpt")]


@pytest.mark.parametrize("name", ENTRIES)
def test_a_record_alone_makes_s3prl_read_nothing(name: str, evil: Path) -> None:
    for text in ("https://host.test/a.pt", str(evil), "owner/name"):
        recorded = UpstreamRef.recorded(name, text, None)
        with pytest.raises(UpstreamError, match=r"names -u \w+ with -k .*name it with -k, or add --trust-checkpoint"):
            verification.verify(recorded)
    recorded = UpstreamRef(name, UpstreamOrigin("https://host.test/a.pt"))
    assert place_of(verification.verify(recorded, Places("https://host.test/b.pt")).checkpoint)
    with trusted_checkpoints(True):
        assert place_of(verification.verify(recorded).checkpoint) == "https://host.test/a.pt"


def test_a_record_may_name_a_file_of_known_content(evil: Path) -> None:
    from s3prl_emotion.files import checkpoint_sha256

    torch.save({"model_cfg": {}}, evil)
    hashes = {"checkpoint_sha256": checkpoint_sha256(str(evil))}
    recorded = UpstreamRef.recorded("hubert_local", str(evil), None, hashes)
    assert place_of(verification.verify(recorded).checkpoint) == str(evil)
    bare = UpstreamRef.recorded("wavlm_local", str(evil), None)
    register_on_hub(resolve("wavlm_local", str(evil), None))  # the user names it here
    assert place_of(verification.verify(bare).checkpoint) == str(evil)


def test_what_the_hub_imports_is_no_upstream() -> None:
    assert "load_and_convert_fairseq_ckpt" not in upstream_registry.upstream_names()
    assert not upstream_registry.is_upstream("load_and_convert_fairseq_ckpt")


def test_a_device_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(UpstreamError, match="neither a file nor a folder"):
            guard.check_given("hubert_local", place, None)
        with pytest.raises(UpstreamError, match="neither a file nor a folder"):
            guard.check_given("baseline_local", None, place)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kaldi: {feat_type: fbank, fbank: {num_mel_bins: 1000000000}}", "num_mel_bins is 1000000000"),
        ("kaldi: {feat_type: mfcc, mfcc: {num_ceps: 1000000000}}", "num_ceps"),
        ("delta: {order: 1000000}", "order is 1000000"),
        ("distiller: {encoder_layers: 1000000}", "encoder_layers"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d]", "more than 10000 values"),
        ("a: " + "[" * 2000, "nested more than 32 deep"),
        ("a: 1\na: 2", "given twice"),
        ("x" * (1 << 21), "expected at most"),
    ],
)  # fmt: skip
def test_settings_that_fit_no_memory(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UpstreamError, match=says):
        guard.check_given("baseline_local", None, str(tmp_path / "x.yaml"))


def test_a_folder_of_transformers_is_checked(tiny_hubert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_hubert, tmp_path / "copy")
    guard.check_given("hf_hubert_custom", str(folder), None)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 10**6}))
    with pytest.raises(UpstreamError, match="num_hidden_layers"):
        guard.check_given("hf_hubert_custom", str(folder), None)
    (tmp_path / "folds").mkdir()
    (tmp_path / "folds" / "pretraining.json").write_text('{"per_fold": true}')
    shutil.copytree(tiny_hubert, tmp_path / "folds" / "fold1")
    guard.check_given("hf_hubert_custom", str(tmp_path / "folds"), None)


def test_a_hub_id_is_fetched_and_checked(tiny_hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(tiny_hubert, tmp_path / "copy")
    monkeypatch.setattr("s3prl_emotion.upstreams.hub.snapshot", lambda *_: folder)
    seen: list[tuple[Any, ...]] = []
    call = guard.guarded("hf_hubert_custom", lambda ckpt, *more: seen.append((ckpt, *more)))
    call("owner/name", "more")
    assert seen == [(str(folder), "more")]
    torch.save({"a": Touch()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UpstreamError, match="refused"):
        call("owner/name")
    assert not (tmp_path / MARKER).exists()
