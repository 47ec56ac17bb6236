"""``--out`` must not destroy what it reports on."""

from __future__ import annotations

from pathlib import Path

from s3prl_emotion.errors import ConfigError

_RUN_FILES = ("run.json", "results.json", "fold.json")


def check_not_of_a_run(out: Path) -> None:
    """Refuse to write over a file of a run or of one of its folds; new files may lie there.

    Raises:
        ConfigError: naming the file
    """
    if out.exists() and any((folder / name).is_file() for folder in out.absolute().parents[:2] for name in _RUN_FILES):
        raise ConfigError(f"--out {out}: a file of a run, which it would overwrite; name another file")
