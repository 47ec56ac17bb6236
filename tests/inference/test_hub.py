"""What is sent to the Hub, and what is said where it cannot be. No test reaches it."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils import HfHubHTTPError

from s3prl_emotion.cli import main
from s3prl_emotion.errors import RunError
from s3prl_emotion.inference.hub import push
from s3prl_emotion.inference.trained import EmotionRecogniser

FILES = ["README.md", "config.json", "head.safetensors"]


class FakeApi:
    """Records calls; ``refusal`` is raised by the first."""

    calls: list[tuple[str, dict[str, Any]]]
    is_private = False
    refusal: Exception | None = None

    def create_repo(self, repo_id: str, **options: Any) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))
        return f"https://hub.test/{repo_id}"

    def repo_info(self, repo_id: str) -> SimpleNamespace:
        return SimpleNamespace(private=self.is_private)

    def create_branch(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create_branch", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: Any) -> None:
        from pathlib import Path

        found = sorted(path.name for path in Path(options["folder_path"]).iterdir())
        self.calls.append(("upload_folder", {**options, "found": found}))


@pytest.fixture
def api(monkeypatch) -> type[FakeApi]:
    kind = type("Api", (FakeApi,), {"calls": []})
    monkeypatch.setattr(huggingface_hub, "HfApi", kind)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_test")
    return kind


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    return EmotionRecogniser.load(trained, device="cpu").export(tmp_path_factory.mktemp("exported") / "head")


def test_an_export_is_sent_in_one_commit(api, exported, capsys) -> None:
    assert main(["push", str(exported), "--repo", "me/head", "--revision", "v1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "https://hub.test/me/head"
    (made, branched, sent) = api.calls
    assert made == ("create_repo", {"repo_id": "me/head", "private": False, "exist_ok": True})
    assert branched == ("create_branch", {"repo_id": "me/head", "branch": "v1", "exist_ok": True})
    assert sent[0] == "upload_folder"
    assert (sent[1]["repo_id"], sent[1]["revision"], sent[1]["found"]) == ("me/head", "v1", FILES)
    assert sent[1]["folder_path"] == str(exported)
    assert sorted(sent[1]["allow_patterns"]) == sorted([*FILES, "text.safetensors", "upstream.safetensors"])
    assert sent[1]["delete_patterns"] == sent[1]["allow_patterns"]


def test_a_run_is_exported_first(api, trained) -> None:
    api.is_private = True
    assert main(["push", str(trained), "--repo", "me/head", "--private", "--fold", "1", "--device", "cpu"]) == 0
    assert [name for name, _ in api.calls] == ["create_repo", "upload_folder"]
    assert api.calls[0][1]["private"] is True
    assert api.calls[1][1]["found"] == FILES


def test_what_should_be_private_is_not_sent_to_a_public_place(api, exported) -> None:
    with pytest.raises(RunError, match="--private: it exists and is public"):
        push(exported, "me/head", private=True)
    assert [name for name, _ in api.calls] == ["create_repo"]


@pytest.mark.parametrize(("status", "message"), [(401, "log in again"), (403, "may not write there"), (500, "refuses")])
def test_refusals_of_the_hub(api, exported, status: int, message: str) -> None:
    error = HfHubHTTPError.__new__(HfHubHTTPError)
    Exception.__init__(error, f"{status} Client Error\n\nthe Hub's own words")
    error.response = SimpleNamespace(status_code=status)
    api.refusal = error
    with pytest.raises(RunError, match=rf"--repo me/head: .*{message}.*the Hub's own words"):
        push(exported, "me/head")


def test_mistakes(api, exported, trained, tmp_path, monkeypatch) -> None:
    for repo in ("head", "a/b/c", "me/my head", ""):
        with pytest.raises(RunError, match="expected OWNER/NAME"):
            push(exported, repo)
    with pytest.raises(RunError, match=r"not an export; make one with `s3prl-emotion export"):
        push(trained, "me/head")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(RunError, match="no login to the Hugging Face Hub: run `hf auth login`"):
        push(exported, "me/head")
    assert not api.calls


def test_without_a_network(exported, monkeypatch, capsys) -> None:
    """The library itself, on an address of this machine where nobody listens."""
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_test")
    real = functools.partial(huggingface_hub.HfApi, endpoint="http://127.0.0.1:1", token="hf_test")
    monkeypatch.setattr(huggingface_hub, "HfApi", real)
    assert main(["push", str(exported), "--repo", "me/head"]) == 2
    said = capsys.readouterr().err
    assert "error: --repo me/head: the Hugging Face Hub cannot be reached, or broke off" in said
    assert "Check the network" in said
    assert main(["push", str(exported), "--repo", "me/-head"]) == 2
    assert "error: --repo me/-head: Repo id must use" in capsys.readouterr().err
