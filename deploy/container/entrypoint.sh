#!/bin/sh
# Starts one process of Atrium: serve | gateway | control | worker | beat | prepare | any command of manage.py.
# A variable may be given by a file: ATRIUM_DATABASE_URL_FILE=/run/secrets/database_url.
set -eu

for variable in $(env | sed -n 's/^\(ATRIUM_[A-Z_]*\)_FILE=.*/\1/p'); do
    eval "file=\${${variable}_FILE}"
    [ -r "$file" ] || { echo "atrium: ${variable}_FILE: $file cannot be read" >&2; exit 1; }
    value=$(cat "$file")
    export "$variable=$value"
    unset "${variable}_FILE"
done

# The image's own front end, where the servers look for it; a newer image replaces what an older one left.
collected=${ATRIUM_STATIC_IMAGE:-/opt/atrium/static}
unset ATRIUM_STATIC_IMAGE
copy_static() {
    [ -d "$collected" ] || return 0
    if ! cmp -s "$collected/staticfiles.json" "$ATRIUM_HOME/static/staticfiles.json" \
        || ! cmp -s "$collected/web/.vite/manifest.json" "$ATRIUM_HOME/static/web/.vite/manifest.json"; then
        mkdir -p "$ATRIUM_HOME/static"
        cp -R "$collected/." "$ATRIUM_HOME/static/"
    fi
}

server() {
    copy_static
    export ATRIUM_ROLE="$1"
    # Longer than the drain, or gunicorn would end what still streams.
    graceful=$((${ATRIUM_DRAIN:-5} + 5))
    exec gunicorn config.asgi:application --worker-class config.server.AtriumWorker --name "atrium-$1" \
        --workers "${WORKERS:-1}" --bind "${HOST:-0.0.0.0}:${PORT:-8000}" --graceful-timeout "$graceful" \
        --timeout 60 --keep-alive 75 --no-control-socket --worker-tmp-dir /dev/shm
}

role=${1:-serve}
[ $# -eq 0 ] || shift
case "$role" in
    gateway | control) server "$role" ;;
    worker)
        export ATRIUM_ROLE=worker
        exec celery -A config worker --loglevel=INFO --concurrency="${ATRIUM_WORKER_CONCURRENCY:-2}" --without-mingle
        ;;
    beat)
        export ATRIUM_ROLE=worker
        exec celery -A config beat --loglevel=INFO --pidfile= --schedule="$ATRIUM_HOME/celerybeat-schedule"
        ;;
    prepare)
        export ATRIUM_ROLE=control
        exec python manage.py prepare --no-demo "$@"
        ;;
    *) exec python manage.py "$role" "$@" ;;
esac
