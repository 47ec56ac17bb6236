"""``--out`` must not destroy what it reports on."""

from __future__ import annotations

from pathlib import Path

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.runs.folder import FoldFolder, RunFolder


def check_not_of_a_run(out: Path) -> None:
    """Refuse to write over a file of a run or of one of its folds; new files may lie there.

    Raises:
        ConfigError: naming the file
    """
    near = out.absolute().parents[:2]
    if out.exists() and any(RunFolder(folder).is_one or FoldFolder(folder).is_finished for folder in near):
        raise ConfigError(f"--out {out}: a file of a run, which it would overwrite; name another file")
