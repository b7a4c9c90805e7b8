"""What only Redshift has: what is said to it, files in S3, texts of bounded length, roles, people who are refused."""

from __future__ import annotations

import gc
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from places import NOON, SPEC, Place, answers, batch, jobs
from redshift_front import Front

from vision_batch.errors import AuthenticationError, DestinationBusyError, InputError, ServiceUnavailableError
from vision_batch.store import Store
from vision_batch.store.files import FileStore
from vision_batch.warehouse.protocol import JOBS_TABLE, KEY, PROVENANCE, Column
from vision_batch.warehouse.redshift import RedshiftWarehouse
from vision_batch.warehouse.redshift_rows import staged_type, table_type, unstaged
from vision_batch.warehouse.replacing import STAGED
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.staging import Staging
from vision_batch.warehouse.tables import quoted

STATEMENTS = Path(__file__).with_name("redshift_statements.sql")
SKIPPED = re.compile(r'pg_|COMMENT ON COLUMN "enrichment"."(photos"."(?!kind|sizes)|vision_batch_jobs)')
FILE = re.compile(r"vision-batch-[0-9a-f]{32}\.parquet")


def warehouse(place: Place, **changes: object) -> RedshiftWarehouse:
    return replace(RedshiftWarehouse(ServerConfig.from_url(place.url), Staging(FileStore(), place.staging)), **changes)


def until_somebody_waits(place: Place) -> None:
    while not place.query("SELECT 1 FROM pg_locks WHERE NOT granted"):
        time.sleep(0.01)


def shortened(line: str) -> str:
    """Leave out the columns that every table has, and what changes from run to run."""
    if JOBS_TABLE in line:
        return line
    same = [column for column in PROVENANCE if column.name not in KEY]
    for text in (
        lambda column: f"{quoted(column.name)} {table_type(column)}",
        lambda column: f"{quoted(column.name)} {staged_type(column)}",
        lambda column: unstaged(column, STAGED),
        lambda column: quoted(column.name),
    ):
        for column in same:
            line = line.replace(f"{text(column)}, ", "").replace(f", {text(column)}", "")
    return FILE.sub("FILE.parquet", line)


def test_what_is_said_to_redshift_is_known_word_for_word(
    redshift_place: Place, redshift_front: Front, bucket: Store, monkeypatch: pytest.MonkeyPatch
):
    """For people who have a Redshift to try it on. The driver prepares a statement once, so a second commit is not seen."""
    monkeypatch.setattr(redshift_front, "store", bucket)
    before = len(redshift_front.statements)
    spec = replace(SPEC, fields=(Column("kind", "string", "It's \\ it"), Column("sizes", "list[integer]")))
    server = ServerConfig.from_url(f"{redshift_place.url}&iam_role=arn:aws:iam::1:role/copy")
    ours = warehouse(redshift_place, server=server, staging=Staging(bucket, "s3://shop/staging/"))
    ours.ensure_table(spec)
    ours.load(spec, batch(1, range(2), spec), jobs({"job_id": "j1"}))
    ours.load(spec, batch(2, range(3), spec))
    ours.settled(spec, pa.table({"item_key": ["item-000000"]}))
    said = "".join(f"{shortened(line)};\n" for line in redshift_front.statements[before:] if not SKIPPED.search(line))
    assert said == STATEMENTS.read_text()
    assert redshift_place.rows(spec, "item_key, sizes") == [(f"item-{n:06d}", None) for n in range(3)]
    assert list(bucket.list("s3://shop/")) == []


def test_a_staged_file_has_the_staged_tables_columns_in_order(redshift_place: Place, redshift_front: Front):
    """COPY of Parquet goes by position."""
    seen: list[list[str]] = []

    class Watched(FileStore):
        def create(self, uri: str, body: bytes) -> None:
            seen.append(pa.parquet.read_schema(pa.BufferReader(body)).names)
            super().create(uri, body)

    before = len(redshift_front.statements)
    warehouse(redshift_place, staging=Staging(Watched(), redshift_place.staging)).load(SPEC, batch(1, range(2)))
    (made,) = [line for line in redshift_front.statements[before:] if line.startswith("CREATE TEMPORARY TABLE")]
    assert seen == [re.findall(r'"(\w+)" ', made.partition("DISTKEY")[0])]
    assert seen == [[column.name for column in SPEC.columns]]


def test_texts_beyond_redshifts_longest_are_cut_with_a_sign_and_lists_left_out(redshift_place: Place):
    spec = replace(SPEC, fields=(Column("words", "list[string]"), Column("thing", "json")))
    row = {"item_key": "a", "raw_text": "ж" * 40_000, "error": "x" * 65_535, "words": ["w" * 66_000], "thing": "[1]"}
    warehouse(redshift_place).load(spec, answers(spec, [row]))
    ((found, error, words, thing),) = redshift_place.rows(spec, "raw_text, error, words, thing")
    assert found == "ж" * 32_766 + "…"
    assert (len(error), words, thing) == (65_535, None, [1])


@pytest.mark.parametrize("key", ["a\0b", "ж" * 40_000], ids=["zero byte", "long"])
def test_a_key_that_would_be_changed_fails_the_plan(redshift_place: Place, key: str):
    ours = warehouse(redshift_place)
    ours.ensure_table(SPEC)
    with pytest.raises(
        InputError, match=r"Redshift cannot hold the item_key '.*': found .* bytes; allowed: at most 65535"
    ):
        ours.settled(SPEC, pa.table({"item_key": [key]}))
    with pytest.raises(InputError, match="Redshift cannot hold the item_key"):
        ours.load(SPEC, answers(SPEC, [{"item_key": key}]))


def test_a_file_that_is_left_over_is_not_read_again(redshift_place: Place, tmp_path: Path):
    ours = warehouse(redshift_place)
    with ours.staging.holding(pa.table({"a": [1]})):
        ours.load(SPEC, batch(1, range(2)))
        assert len(list((tmp_path / "staging").iterdir())) == 1
    assert list((tmp_path / "staging").iterdir()) == []
    assert len(redshift_place.rows()) == 2


def test_a_reader_and_a_writer_do_not_wait_for_each_other(redshift_place: Place):
    ours = warehouse(redshift_place, busy_timeout_seconds=2)
    ours.ensure_table(SPEC)
    ours.load(SPEC, batch(1, range(10)))
    with psycopg.connect(redshift_place.behind) as report:
        count = "SELECT count(*), min(kind) FROM enrichment.photos_current"
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert report.execute(count).fetchall() == [(10, "1")]
        ours.load(SPEC, batch(2, range(20)))
        assert report.execute(count).fetchall() == [(10, "1")]


def test_another_writer_is_waited_for_then_named(redshift_place: Place):
    patient, impatient = warehouse(redshift_place), warehouse(redshift_place, busy_timeout_seconds=0.5)
    patient.ensure_table(SPEC)
    with psycopg.connect(redshift_place.behind) as holder:
        holder.execute("LOCK enrichment.vision_batch_lock")
        with pytest.raises(DestinationBusyError, match=r"Redshift at 127\.0\.0\.1: another writer holds the table"):
            impatient.load(SPEC, batch(1, range(3)))
    with psycopg.connect(redshift_place.behind) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("LOCK enrichment.vision_batch_lock")
        loading = pool.submit(patient.load, SPEC, batch(1, range(3)))
        until_somebody_waits(redshift_place)
        assert not loading.done()
        holder.commit()
        assert loading.result().inserted == 3


def test_a_view_that_another_writer_drops_while_it_is_looked_at_is_made_again(redshift_place: Place):
    """The first look takes no lock, so a wider version of the DAG may replace the view in the middle of it."""
    ours = warehouse(redshift_place)
    ours.ensure_table(SPEC)
    with psycopg.connect(redshift_place.behind) as other, ThreadPoolExecutor(1) as pool:
        other.execute("DROP VIEW enrichment.photos_current")
        ensuring = pool.submit(ours.ensure_table, SPEC)
        until_somebody_waits(redshift_place)
        other.commit()
        assert ensuring.result() == []
    assert redshift_place.rows(view=True) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the driver leaves its socket to the collector then
def test_who_is_refused_and_who_does_not_answer_are_told_apart(redshift_place: Place):
    stranger = replace(ServerConfig.from_url(redshift_place.url), user="stranger", password="sesame")
    with pytest.raises(AuthenticationError, match=r'^Redshift at 127\.0\.0\.1: role "stranger" does not exist$'):
        warehouse(redshift_place, server=stranger).ensure_table(SPEC)
    away = replace(ServerConfig.from_url(redshift_place.url), port=9)
    with pytest.raises(ServiceUnavailableError, match=r"^Redshift at 127\.0\.0\.1: "):
        warehouse(redshift_place, server=away).ensure_table(SPEC)
    gc.collect()


def test_a_date_and_a_moment_are_what_they_were(redshift_place: Place):
    """They are staged as texts, as COPY of Parquet has no type for moments."""
    spec = replace(SPEC, fields=(Column("day", "date"),))
    row = {"item_key": "a", "day": NOON.date(), "asked_at": NOON.replace(microsecond=1)}
    warehouse(redshift_place).load(spec, answers(spec, [row]))
    assert redshift_place.rows(spec, "day, asked_at") == [(NOON.date(), NOON.replace(microsecond=1))]
