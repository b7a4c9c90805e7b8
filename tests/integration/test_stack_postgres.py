"""PostgreSQL from the wheel, as root and as anybody else, in awkward folders."""

import os
from pathlib import Path

import psycopg2
import pytest

from vision_batch.demo import postgres
from vision_batch.demo.processes import Processes
from vision_batch.errors import ServiceUnavailableError


def connect(data: Path):
    return psycopg2.connect(host=str(postgres.socket_folder(data)), user=postgres.USER, dbname=postgres.USER)


@pytest.fixture(params=["plain", "deep"])
def data(request, tmp_path):
    """Give a folder inside one that only its owner may enter; the deep one's path is too long for a socket."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    return private / "postgres" if request.param == "plain" else private / "папка с пробелом" / ("d" * 100) / "postgres"


@pytest.fixture
def processes(tmp_path, data):
    group = Processes(tmp_path / "log", tmp_path / "stack.json")
    yield group
    group.stop_all()
    postgres.clean_socket(data)


def test_it_starts_keeps_data_over_a_restart_and_changes_no_folders_mode(data, processes):
    postgres.prepare(data, os.environ)
    processes.start(postgres.component(data, os.environ))
    postgres.wait_ready(data, processes)
    with connect(data) as connection:
        connection.cursor().execute("create table kept as select 42 as answer")
    connection.close()

    processes.stop("postgres")
    postgres.prepare(data, os.environ)
    processes.restart("postgres")
    postgres.wait_ready(data, processes)

    with connect(data) as connection:
        cursor = connection.cursor()
        cursor.execute("select answer, current_setting('listen_addresses') from kept")
        assert cursor.fetchall() == [(42, "")]
    connection.close()
    private = next(folder for folder in data.parents if folder.name == "private")
    assert private.stat().st_mode & 0o777 == 0o700


def test_it_recovers_after_it_was_killed(data, processes):
    postgres.prepare(data, os.environ)
    processes.start(postgres.component(data, os.environ))
    postgres.wait_ready(data, processes)
    processes.kill("postgres")
    processes.restart("postgres")
    postgres.wait_ready(data, processes)
    processes.check()


def test_a_server_that_cannot_start_says_why(data, processes):
    postgres.prepare(data, os.environ)
    (data / "postgresql.conf").write_text("no such setting\n")
    processes.start(postgres.component(data, os.environ))
    with pytest.raises(ServiceUnavailableError, match=r"postgres ended by itself(.|\n)*syntax error in file"):
        postgres.wait_ready(data, processes)
