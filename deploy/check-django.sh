#!/usr/bin/env bash
# Django's own checks, as for a deployment behind https, that no migration is missing, and that none locks or breaks.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export ATRIUM_HOME=$home ATRIUM_PUBLIC_URL=https://atrium.example.org
.venv/bin/python manage.py check --deploy --fail-level WARNING
.venv/bin/python manage.py makemigrations --check --dry-run
.venv/bin/python deploy/lint_migrations.py
