#!/bin/sh
# Makes the passwords and keys of compose.yaml, each once: what is there is left as it is.
# Keep a copy of secrets/keyring and secrets/secret_key elsewhere: without the keyring no key and no stored secret works.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
chmod 700 secrets

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
# The folder is closed; within it the containers' own accounts must be able to read.
keep() { [ -s "secrets/$1" ] || { printf '%s' "$2" >"secrets/$1"; chmod 444 "secrets/$1"; }; }

keep postgres_password "$(random 24)"
keep database_password "$(random 24)"
keep redis_password "$(random 24)"
keep weaviate_api_key "$(random 24)"
keep metrics_token "$(random 24)"
keep secret_key "$(random 48)"
keep keyring "1:$(head -c 32 /dev/urandom | base64 | tr -d '\n')"
keep database_url "postgres://atrium:$(cat secrets/database_password)@postgres:5432/atrium"
keep redis_url "redis://:$(cat secrets/redis_password)@redis:6379/0"
keep cache_redis_url "redis://:$(cat secrets/redis_password)@redis-cache:6379/0"
echo "secrets are in $PWD/secrets"
