#!/usr/bin/env bash
# Format, lint, types, the documentation site and the fast suite, in an environment that is set up on first use.
# Arguments go to pytest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/environment.sh"
choose_python "[dev]" pytest pytest-xdist ruff mypy build confidence-intervals librosa statsmodels \
    latex2mathml mkdocs mkdocs-material mkdocstrings-python
cd "$project"
"$PYTHON" -m ruff format --check .
"$PYTHON" -m ruff check .
"$PYTHON" -m mypy
site="$(mktemp -d)"
trap 'rm -rf "$site"' EXIT
NO_MKDOCS_2_WARNING=1 "$PYTHON" -m mkdocs build --strict --site-dir "$site"
"$PYTHON" -m pytest -n 2 "$@"
