# Sourced by run_downstream.sh and tests/run.sh: choose_python sets PYTHON to an interpreter that has the package, and
# makes .venv beside the project for it where there is none. Several processes that start at the same time make it once.

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# has_package PYTHON DISTRIBUTION...: whether the distributions are installed there, ours from this very folder.
has_package() {
    "$1" - "$project" "${@:2}" >/dev/null 2>&1 <<'PYTHON'
import pathlib
import sys
from importlib import metadata

for name in sys.argv[2:]:
    metadata.distribution(name)
import s3prl_emotion

assert pathlib.Path(s3prl_emotion.__file__).resolve().is_relative_to(pathlib.Path(sys.argv[1]).resolve())
PYTHON
}

# find_python DISTRIBUTION...: sets PYTHON to the first interpreter that has the package and these distributions.
find_python() {
    local candidate
    for candidate in "${S3PRL_EMOTION_PYTHON:-}" "$project/.venv/bin/python" python python3; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            (cd / && has_package "$candidate" s3prl-emotion s3prl torch "$@"); then
            PYTHON="$candidate"
            return 0
        fi
    done
    return 1
}

# choose_python EXTRA DISTRIBUTION...: EXTRA is "" or "[dev]".
choose_python() {
    local extra="$1" candidate
    shift
    if find_python "$@"; then
        return
    fi
    local base=""
    for candidate in python3 python python3.13 python3.12 python3.11 python3.10; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
            >/dev/null 2>&1; then
            base="$candidate"
            break
        fi
    done
    if [ -z "$base" ]; then
        echo "error: no Python 3.10 to 3.13 with venv found; install one (Debian: apt install python3 python3-venv)" >&2
        exit 2
    fi
    # The lock is the kernel's, so it ends with the process that holds it, also a killed one.
    exec {lock}>"$project/.venv.lock"
    if command -v flock >/dev/null 2>&1 && ! flock --nonblock "$lock"; then
        echo "another process sets up $project/.venv; waiting for it" >&2
        flock "$lock" || echo "warning: no lock on $project/.venv.lock; start one process first" >&2
        if find_python "$@"; then
            exec {lock}>&-
            return
        fi
    fi
    echo "setting up $project/.venv with $("$base" --version): torch 2.11 and S3PRL, about 5 GB, once." >&2
    echo "pip shows each download; it may be interrupted and started again" >&2
    [ -x "$project/.venv/bin/python" ] || "$base" -m venv "$project/.venv"
    PYTHON="$project/.venv/bin/python"
    # torch and torchaudio are named so that a cached build for another platform does not come in their place.
    "$PYTHON" -m pip install --disable-pip-version-check \
        "torch==2.11.0" "torchaudio==2.11.0" --editable "$project$extra" >&2 {lock}>&-
    exec {lock}>&-
    echo "done" >&2
}
