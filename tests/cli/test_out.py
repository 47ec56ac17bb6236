"""``--out`` never overwrites a file of a run."""

from __future__ import annotations

import pytest
from reporting.runs import make_run

from s3prl_emotion.cli import main
from s3prl_emotion.cli.output import check_not_of_a_run
from s3prl_emotion.errors import ConfigError


@pytest.mark.parametrize("name", ["results.json", "predictions.csv", "fold1/dev-best.ckpt"])
def test_files_of_a_run_stay(tmp_path, name, capsys):
    make_run(tmp_path / "run")
    path = tmp_path / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    before = path.read_bytes()
    assert main(["compare", str(tmp_path / "run"), "--out", str(path)]) == 2
    assert "a file of a run, which it would overwrite" in capsys.readouterr().err
    assert path.read_bytes() == before
    with pytest.raises(ConfigError, match="a file of a run"):
        check_not_of_a_run(path)


def test_new_files_may_lie_beside_a_run(tmp_path):
    make_run(tmp_path / "run")
    assert main(["compare", str(tmp_path / "run"), "--out", str(tmp_path / "run" / "new.md")]) == 0
    assert main(["compare", str(tmp_path / "run"), "--out", str(tmp_path / "table.md")]) == 0
    assert main(["compare", str(tmp_path / "run"), "--out", str(tmp_path / "table.md")]) == 0
