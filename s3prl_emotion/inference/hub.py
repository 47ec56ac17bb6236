"""Uploading an exported head to the Hugging Face Hub."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import EmotionError, RunError
from s3prl_emotion.inference.export import is_export, read_export
from s3prl_emotion.inference.export_files import FILES

logger = logging.getLogger(__name__)


def push(folder: str | Path, repo: str, private: bool = False, revision: str | None = None) -> str:
    """Upload an export, its model card included; the repository is made if it is not there.

    Only the files of an export are sent, in one commit; of an earlier export there, no file is left behind.

    Args:
        folder: an exported folder
        repo: ``owner/name``
        private: only the owner sees it
        revision: a branch, made if it is not there; None takes the main one

    Returns:
        the address of the repository

    Raises:
        RunError: without login, network or permission, for an impossible name, or where ``private`` is asked for and
            the repository is public; the message says what to do
    """
    import huggingface_hub

    folder = Path(folder)
    if not is_export(folder):
        raise RunError(f"{folder}: not an export; make one with `s3prl-emotion export RUN_FOLDER --out DIR`")
    read_export(folder)  # complete and readable
    check_repo(repo)
    with _explained(repo):
        api = huggingface_hub.HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        if private and not api.repo_info(repo).private:
            raise RunError(
                f"--repo {repo} --private: it exists and is public; make it private on the Hub, or name another"
            )
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=str(folder),
            revision=revision,
            commit_message="s3prl-emotion: trained head",
            allow_patterns=list(FILES),
            delete_patterns=list(FILES),
        )
    return str(address)


def check_repo(repo: str) -> None:
    """Check the name of a repository, and that there is a login, before anything is computed or sent.

    Raises:
        RunError: saying what to do
    """
    import huggingface_hub

    if not re.fullmatch(r"[^/\s]+/[^/\s]+", repo):
        raise RunError(f"--repo {repo!r}: expected OWNER/NAME, you or your organisation and a name of your choice")
    if not huggingface_hub.get_token():
        raise RunError(
            "no login to the Hugging Face Hub: run `hf auth login`, or set HF_TOKEN, with a token that may write"
        )


@contextlib.contextmanager
def _explained(repo: str) -> Iterator[None]:
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError

    try:
        yield
    except EmotionError:
        raise
    except HFValidationError as error:
        raise RunError(f"--repo {repo}: {error}") from error
    except HfHubHTTPError as error:
        raise RunError(f"--repo {repo}: {_said(repo, error)}") from error
    except Exception as error:  # its transport, and so its errors, change with the release: requests, httpx, httpx2
        logger.debug("push to %s", repo, exc_info=True)
        raise RunError(
            f"--repo {repo}: the Hugging Face Hub cannot be reached, or broke off ({type(error).__name__}: {error}). "
            "Check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and repeat the command"
        ) from error


def _said(repo: str, error: Any) -> str:
    status = getattr(error.response, "status_code", None)
    told = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    if status == 401:
        return f"the Hub does not accept your token: log in again with `hf auth login` ({told})"
    if status == 403:
        return (
            f"your token may not write there: OWNER must be you or an organisation of yours, and the token needs write "
            f"permission ({told})"
        )
    return f"the Hub refuses: {told}"
