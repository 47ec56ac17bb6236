#!/usr/bin/env bash
# Train and test a downstream on an upstream: ./run_downstream.sh -u wavlm_large -d emotion_attn_corr --data IEMOCAP
# Sets up .venv on first use, then runs `python -m s3prl_emotion run` with the same options (--help lists them).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/scripts/environment.sh"
choose_python ""
exec "$PYTHON" -m s3prl_emotion run "$@"
