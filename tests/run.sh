#!/usr/bin/env bash
# Format, lint, types and the fast suite, in an environment that is set up on first use. Arguments go to pytest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/environment.sh"
choose_python "[dev]" pytest pytest-xdist ruff mypy build confidence-intervals librosa statsmodels
cd "$project"
"$PYTHON" -m ruff format --check .
"$PYTHON" -m ruff check .
"$PYTHON" -m mypy
"$PYTHON" -m pytest -n 2 "$@"
