#!/usr/bin/env bash
# The integration suite against the services that `make services` started. A skip is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${ATRIUM_HOME:-var}/services/environment
[ -f "$environment" ] || { echo "no services: run \`make services\` first" >&2; exit 1; }
set -a
# shellcheck disable=SC1090
. "$environment"
set +a
export ATRIUM_TEST_SERVICES=1
.venv/bin/python -m pytest -m services -p no:cacheprovider --fail-on-skip "$@"
