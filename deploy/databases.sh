#!/usr/bin/env bash
# PostgreSQL's image runs this once, on an empty volume: the answers get a database and a role of their own, and neither
# that role nor Airflow's can enter the other's database.
set -euo pipefail
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv airflow_password AIRFLOW_DATABASE_PASSWORD
\getenv warehouse_password WAREHOUSE_PASSWORD
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE DATABASE airflow OWNER airflow;
REVOKE CONNECT ON DATABASE airflow FROM PUBLIC;
CREATE ROLE warehouse LOGIN PASSWORD :'warehouse_password';
CREATE DATABASE warehouse OWNER warehouse;
REVOKE CONNECT ON DATABASE warehouse FROM PUBLIC;
SQL
