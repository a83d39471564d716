#!/usr/bin/env bash
# The integration suite against the services that `make services` started. A skip is a failure.
# First the contracts of the ports, adapter by adapter; then the whole full profile from outside: what asks the one
# installation that all share or the running engines (shared), and what has a database, processes and engines of its own
# (apart). These two may run at the same time.
# usage: deploy/test-services.sh [all|contracts|profile|shared|apart] [options of pytest]
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
files=$(grep -rlE 'mark\.services\b' tests --include='test_*.py' | sort)
whole=$(grep '^tests/services/' <<<"$files")
mapfile -t contracts < <(grep -v '^tests/services/' <<<"$files")
mapfile -t shared < <(xargs grep -lE 'fakes\.stack|ATRIUM_TEST_VLLM_URLS' <<<"$whole")
mapfile -t apart < <(xargs grep -LE 'fakes\.stack|ATRIUM_TEST_VLLM_URLS' <<<"$whole")
case $part in all | contracts) $pytest "${contracts[@]}" -n 2 --dist loadfile "$@" ;; esac
export ATRIUM_TEST_SERVICES=1
case $part in
all | profile) $pytest tests/services "$@" ;;
shared) $pytest "${shared[@]}" "$@" ;;
# Each part with a record of failures of its own: the two at once would write over each other's.
apart) $pytest -o cache_dir=.pytest_cache/of-apart "${apart[@]}" "$@" ;;
esac
