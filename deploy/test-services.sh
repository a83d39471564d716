#!/usr/bin/env bash
# The integration suite against the services that `make services` started. A skip is a failure.
# First the contracts of the ports, adapter by adapter; then the whole full profile from outside.
# usage: deploy/test-services.sh [all|contracts|profile] [options of pytest]
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${ATRIUM_HOME:-var}/services/environment
[ -f "$environment" ] || { echo "no services: run \`make services\` first" >&2; exit 1; }
set -a
# shellcheck disable=SC1090
. "$environment"
ATRIUM_TEST_REDIS_URL=$ATRIUM_REDIS_URL
ATRIUM_TEST_WEAVIATE_URL=$ATRIUM_WEAVIATE_URL
ATRIUM_TEST_WEAVIATE_GRPC_PORT=$ATRIUM_WEAVIATE_GRPC_PORT
ATRIUM_TEST_WEAVIATE_API_KEY=$ATRIUM_WEAVIATE_API_KEY
set +a
# Whole stacks are started: a busy machine takes its time.
pytest=".venv/bin/python -m pytest -m services --fail-on-skip --timeout 300"
part=${1:-all}
[ $# = 0 ] || shift
# The files alone in which the marker stands: to look through all the others takes seconds of each process.
mapfile -t contracts < <(grep -rlE 'mark\.services\b' tests --include='test_*.py' | grep -v '^tests/services/')
[ "$part" = profile ] || $pytest "${contracts[@]}" -n 2 --dist loadfile "$@"
[ "$part" = contracts ] || ATRIUM_TEST_SERVICES=1 $pytest tests/services "$@"
