#!/bin/sh
# Runs once, in an empty cluster: Atrium's login, which owns its database, is no superuser and may make roles.
set -eu
psql --username postgres --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/database_password)" <<'SQL'
CREATE ROLE atrium LOGIN NOSUPERUSER NOBYPASSRLS NOREPLICATION CREATEROLE PASSWORD :'password';
ALTER ROLE atrium SET createrole_self_grant = 'set, inherit';
CREATE DATABASE atrium OWNER atrium;
SQL
