"""The example that drops five kinds of checkpoints runs as it is documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_example_ends_with_a_table(tmp_path) -> None:
    script = Path(__file__).parents[2] / "examples" / "drop_in.py"
    done = subprocess.run([sys.executable, str(script), "--steps", "4"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    table = done.stdout.strip().splitlines()[-5:]
    names = ["tiny_hubert", "tiny_wavlm", "tiny_whisper", "tiny_w2v_bert", "tiny_torchaudio"]
    assert [line.split()[0] for line in table] == names
    assert len({line.split()[1] for line in table}) == 5
    assert all(0 <= float(line.split()[2]) <= 100 for line in table)
