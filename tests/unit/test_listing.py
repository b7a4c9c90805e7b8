"""What manifests and queries name, which of it is taken, and what is said about the rest."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.manifest import manifest_rows
from vision_batch.enrichment.query import bound
from vision_batch.errors import ConnectionInputError, DuplicateItemError, InputError, ServiceUnavailableError
from vision_batch.steps.listing import Listing, items_of
from vision_batch.steps.resources import Resources

DAY = "2026-11-22"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lists").mkdir()
    for name in ("a.jpg", "b.jpg", "deep/c"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def resources(folder: Path, source: dict, prompt: str = "What is this?", **ways) -> Resources:
    if "uri" not in source:
        source = {"allowed_prefixes": [f"file://{folder}/photos/"], **source}
    declaration = Declaration.model_validate(
        {
            "name": "photos",
            "model": "gemma-3-12b-it",
            "work_folder": f"file://{folder}/work/",
            "source": source,
            "prompt": prompt,
            "answer": {"fields": {"kind": {"type": "string", "description": "what it is"}}},
            "destination": {"path": f"{folder}/w.duckdb", "table": "enrichment.photos"},
        }
    )
    return Resources(declaration, **ways)


def listed(folder: Path, text: str | bytes, name: str = "{partition}.csv", **source) -> list:
    path = folder / "lists" / name.replace("{partition}", DAY)
    path.write_bytes(text.replace("@", f"file://{folder}/photos/").encode() if isinstance(text, str) else text)
    prompt = "What is this? " + " ".join(f"{{{variable}}}" for variable in source.get("variables", ()))
    found = {"manifest": f"file://{folder}/lists/{name}", **source}
    return list(items_of(resources(folder, found, prompt), DAY))


def error(folder: Path, text: str | bytes, name: str = "{partition}.csv", **source) -> str:
    with pytest.raises(InputError) as caught:
        listed(folder, text, name, **source)
    return str(caught.value).replace(f"file://{folder}/", "@")


def test_a_manifest_names_images_in_the_version_that_storage_has(folder):
    one, other = listed(folder, "\ufeffuri,note\r\n@b.jpg,x\r\n@deep/c,y\r\n")
    assert [one.item_key, other.item_key] == [f"file://{folder}/photos/b.jpg", f"file://{folder}/photos/deep/c"]
    assert (one.partition, one.size_bytes, one.variables) == (DAY, 5, {})
    [from_prefix] = [
        item
        for item in items_of(resources(folder, {"uri": f"file://{folder}/{{partition}}/"}), "photos")
        if item.uri == one.uri
    ]
    assert from_prefix.input_id == one.input_id


def test_keys_and_variables_come_from_columns(folder):
    text = 'uri,sku,name\n@a.jpg,A1,"Чайник, {brand}"\n@a.jpg,A2,100% {name} %s\n'
    items = listed(folder, text, key_column="sku", variables={"product": "name"})
    assert [(item.item_key, dict(item.variables)) for item in items] == [
        ("A1", {"product": "Чайник, {brand}"}),
        ("A2", {"product": "100% {name} %s"}),
    ]
    assert len({item.input_id for item in items}) == 2


def test_every_format_gives_the_same_items(folder):
    rows = [{"uri": f"file://{folder}/photos/{name}", "price": 5, "new": True} for name in ("a.jpg", "b.jpg")]
    pq.write_table(
        pa.Table.from_pylist([{**row, "other": [1]} for row in rows]), folder / "rows.parquet", row_group_size=1
    )
    jsonl = "".join(json.dumps(row) + "\n\n" for row in rows)
    csv = "uri,price,new\n" + "".join(f"{row['uri']},5,true\n" for row in rows)
    variables = ["price", "new"]
    found = [
        listed(folder, csv, variables=variables),
        listed(folder, jsonl, "{partition}.jsonl", variables=variables),
        listed(folder, jsonl, "{partition}", format="jsonl", variables=variables),
        listed(folder, (folder / "rows.parquet").read_bytes(), "{partition}.PARQUET", variables=variables),
    ]
    assert [item.variables for item in found[0]] == [{"price": "5", "new": "true"}] * 2
    assert all(items == found[0] for items in found)


def test_values_are_written_the_same_way_whatever_their_type(folder):
    table = pa.table(
        {"uri": [f"file://{folder}/photos/a.jpg"], "d": [date(2026, 1, 2)], "m": [Decimal("1.50")], "f": [0.5]}
    )
    pq.write_table(table, folder / "rows.parquet")
    [item] = listed(folder, (folder / "rows.parquet").read_bytes(), "{partition}.parquet", variables=["d", "m", "f"])
    assert item.variables == {"d": "2026-01-02", "m": "1.50", "f": "0.5"}


def parquet(folder: Path, **columns: Any) -> bytes:
    """A manifest of two images with some columns more."""
    uris = [f"file://{folder}/photos/{name}" for name in ("a.jpg", "b.jpg")]
    sink = io.BytesIO()
    pq.write_table(pa.table({"uri": uris, **columns}), sink)
    return sink.getvalue()


def test_times_are_read_to_the_microsecond(folder):
    second = 1_767_225_600_000_000_000
    body = parquet(
        folder,
        exact=pa.array([second, second + 5_000], pa.timestamp("ns")),
        finer=pa.array([second + 1, second + 5_999], pa.timestamp("ns", "Europe/Moscow")),
        clock=pa.array([1, 43_200_000_001_999], pa.time64("ns")),
    )
    found = listed(folder, body, "{partition}.parquet", variables=["exact", "finer", "clock"])
    assert [list(item.variables.values()) for item in found] == [
        ["2026-01-01T00:00:00", "2026-01-01T03:00:00+03:00", "00:00:00"],
        ["2026-01-01T00:00:00.000005", "2026-01-01T03:00:00.000005+03:00", "12:00:00.000001"],
    ]


UNREADABLE = {
    "year": (lambda: pa.array([0, 2**62], pa.timestamp("us")), "row 2: column 'x' holds a value that cannot be read (OverflowError: date value out of range)"),
    "day": (lambda: pa.array([0, 2**30], pa.date32()), "row 2: column 'x' holds a value that cannot be read (OverflowError: days=1073741824; must have magnitude <= 999999999)"),
    "not UTF-8": (lambda: pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"a\xff"], pa.binary()).buffers()), "row 2: column 'x' holds a value that cannot be read (UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 1: invalid start byte)"),
    "timezone": (lambda: pa.array([1, 2], pa.timestamp("us", "Mars/Base")), "row 1: column 'x' holds a value that cannot be read ("),
    "timezone and nanoseconds": (lambda: pa.array([1, 2], pa.timestamp("ns", "Mars/Base")), "row 1: column 'x' holds a value that cannot be read ("),
    "pieces of a second in a list": (lambda: pa.array([[0], [1]], pa.list_(pa.timestamp("ns"))), "row 2: column 'x' holds a value that cannot be read (ValueError: Nanosecond resolution temporal type 1"),
}  # fmt: skip


@pytest.mark.parametrize(("column", "said"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_value_that_python_cannot_hold_is_named_with_row_and_column(folder, column, said):
    body = parquet(folder, x=column())
    found = error(folder, body, "{partition}.parquet", variables=["x"])
    assert found.startswith(f"@lists/{DAY}.parquet, {said}")
    assert found.endswith("; allowed are texts, numbers and dates")
    assert len(listed(folder, body, "{partition}.parquet")) == 2, "what is not asked with is not read"


def test_a_parquet_file_that_is_damaged_anywhere_is_named(folder):
    """Some of these end the process if pyarrow is asked about one of the file's columns."""
    good = parquet(folder, x=["x", "y"])
    said = []
    for place in range(len(good)):
        body = bytearray(good)
        body[place] ^= 1
        try:
            list(manifest_rows(bytes(body), "parquet", origin="l.parquet", columns={"uri", "x"}))
        except InputError as wrong:
            said.append(str(wrong))
    assert 100 < len(said) < len(good)
    assert [words for words in said if not words.startswith("l.parquet") or "\n" in words] == []


def test_images_that_are_not_there_are_left_out_and_told(folder, caplog):
    with caplog.at_level(logging.WARNING):
        [item] = listed(folder, "uri\n@gone.jpg\n@a.jpg\n@lost.jpg\n")
    assert item.uri.endswith("/a.jpg")
    [told] = [record.getMessage() for record in caplog.records]
    assert "2 images are not in storage and left out" in told
    assert "gone.jpg" in told


def test_a_day_without_a_manifest_is_empty_and_told(folder, caplog):
    found = resources(folder, {"manifest": f"file://{folder}/lists/{{partition}}.csv"})
    with caplog.at_level(logging.WARNING):
        assert list(items_of(found, "2026-11-01")) == []
    assert "There is no manifest" in caplog.text


ROWS = {
    "other bucket": ("uri\ns3://other/a.jpg\n", "row 1: 's3://other/a.jpg' lies outside of @photos/; if it belongs to the source, add its folder to source.allowed_prefixes"),
    "web": ("uri\nhttp://169.254.169.254/latest\n", "row 1: 'http://169.254.169.254/latest' lies outside of @photos/; if it belongs to the source, add its folder to source.allowed_prefixes"),
    "neighbour": ("uri\nfile:///etc/passwd\n", "row 1: 'file:///etc/passwd' lies outside of @photos/; if it belongs to the source, add its folder to source.allowed_prefixes"),
    "upwards": ("uri\n@a.jpg\n@../lists/x\n", "row 2: '@photos/../lists/x' is not the URI of one file: no '.', no '..', no / at its end"),
    "folder": ("uri\n@deep/\n", "row 1: '@photos/deep/' is not the URI of one file: no '.', no '..', no / at its end"),
    "no column": ("url\n@a.jpg\n", "row 1: there is no column 'uri'; did you mean 'url'? allowed: url"),
    "no URI": ("uri,x\n,1\n", "row 1: column 'uri' is empty; fill it in, or leave the row out"),
    "twice": ("uri\n@a.jpg\n@b.jpg\n@a.jpg\n", "row 3: item key '@photos/a.jpg' is that of row 1 too; every item needs a key of its own"),
    "control": ("uri\n@a\0.jpg\n", "row 1: column 'uri' holds '\\x00', which is no character of a text"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), ROWS.values(), ids=ROWS)
def test_a_row_that_cannot_be_taken_is_named(folder, text, said):
    assert error(folder, text) == f"@lists/{DAY}.csv, {said}"


VALUES = {
    "empty": (" ", "column 'name' is empty; fill it in, or leave the row out"),
    "long": ("x" * 2001, "the value has 2001 characters; allowed are 2000"),
    "control": ("\x1b", "column 'name' holds '\\x1b', which is no character of a text"),
}


@pytest.mark.parametrize(("value", "said"), VALUES.values(), ids=VALUES)
def test_a_value_that_cannot_be_asked_with_is_named_with_item_and_variable(folder, value, said):
    found = error(folder, f"uri,sku,name\n@a.jpg,A1,{value}\n", key_column="sku", variables={"product": "name"})
    assert found == f"@lists/{DAY}.csv, row 1, item 'A1', variable 'product': {said}"


def twice(folder: Path) -> bytes:
    sink = io.BytesIO()
    columns = [pa.array([f"file://{folder}/photos/{name}"]) for name in ("a.jpg", "b.jpg")]
    pq.write_table(pa.Table.from_arrays(columns, names=["uri", "uri"]), sink)
    return sink.getvalue()


REPEATED = {
    "csv": ("csv", lambda _: "uri,sku,uri\n@a.jpg,1,@b.jpg\n", ", line 1: column 'uri' is there 2 times"),
    "csv without rows": ("csv", lambda _: "uri,uri,uri\n", ", line 1: column 'uri' is there 3 times"),
    "jsonl": ("jsonl", lambda _: '{"uri": "@a.jpg"}\n{"uri": "@a.jpg", "x": {"y": 1}, "ur\\u0069": "@b.jpg"}\n', ", line 2: column 'uri' is there 2 times"),
    "parquet": ("parquet", twice, ": column 'uri' is there 2 times"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "said"), REPEATED.values(), ids=REPEATED)
def test_a_column_that_is_there_twice_could_name_the_wrong_image(folder, kind, text, said):
    found = error(folder, text(folder), f"{{partition}}.{kind}")
    assert found == f"@lists/{DAY}.{kind}{said}; leave one, or rename the others"


def test_a_column_that_is_not_needed_may_be_there_twice(folder):
    for kind, text in (
        ("csv", "uri,,\n@a.jpg,,\n"),
        ("jsonl", '{"uri": "@a.jpg", "x": {"uri": 1, "uri": 2}, "y": 1, "y": 2}\n'),
    ):
        [item] = listed(folder, text, f"{{partition}}.{kind}")
        assert item.uri.endswith("/a.jpg")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_list_without_rows_is_empty_only_if_it_is_a_list(folder, kind):
    def empty(*names):
        if kind == "csv":
            return ",".join(names) + "\n"
        sink = io.BytesIO()
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in names}), sink)
        return sink.getvalue()

    assert listed(folder, empty("uri", "more"), name=f"{{partition}}.{kind}") == []
    with pytest.raises(InputError, match=r"there is no column 'uri'; did you mean 'url'\?"):
        listed(folder, empty("url"), name=f"{{partition}}.{kind}")


def test_two_items_may_not_have_one_key(folder):
    with pytest.raises(DuplicateItemError, match="item key 'A1' is that of row 1 too"):
        listed(folder, "uri,sku\n@a.jpg,A1\n@b.jpg,A1\n", key_column="sku")


FILES = {
    "more values": ("uri\n@a.jpg,x\n", "csv", ", line 2: more values than the first line has columns"),
    "open quote": ('uri\n"@a.jpg\n', "csv", ", line 2: this is not CSV: unexpected end of data"),
    "not UTF-8": ("uri\nцвет".encode("cp1251"), "csv", ", line 2: the manifest is not UTF-8 text"),
    "not JSON": ('{"uri": "x"\n', "jsonl", ", line 1: this is not JSON: Expecting ',' delimiter: line 1 column 12 (char 11)"),
    "not an object": ('\n["x"]\n', "jsonl", ', line 2: each line is one JSON object such as {"uri": "..."}'),
    "surrogate": ('{"uri": "\\ud800"}\n', "jsonl", ", row 1: column 'uri' holds '\\ud800', which is no character of a text"),
    "list": ('{"uri": ["x"]}\n', "jsonl", ", row 1: column 'uri' is a list; allowed are texts, numbers and dates"),
    "not Parquet": (b"PAR1", "parquet", ": this is not Parquet: Parquet file size is 4 bytes, smaller than the minimum file footer (8 bytes)"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "said"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_manifest_is_named_with_its_line(folder, text, kind, said):
    assert error(folder, text, f"{{partition}}.{kind}") == f"@lists/{DAY}.{kind}{said}"


QUERY = "SELECT uri, sku, name FROM photos WHERE day = {partition} AND name NOT LIKE '%old%' ORDER BY sku"


@pytest.fixture
def catalogue(folder: Path) -> str:
    path = str(folder / "catalogue.duckdb")
    with duckdb.connect(path) as db:
        db.execute("CREATE TABLE photos (uri text, sku integer, name text, day date)")
        photos = [(f"file://{folder}/photos/{name}", sku, "Чайник", DAY) for sku, name in enumerate(("a.jpg", "b.jpg"))]
        other = (photos[0][0], 7, "Чайник", "2026-11-23")
        old = (photos[0][0], 8, "old one", DAY)
        db.executemany("INSERT INTO photos VALUES (?, ?, ?, ?)", [*photos, other, old])
    return path


def test_a_query_of_a_duckdb_file_names_images(folder, catalogue):
    source = {"query": QUERY, "query_file": catalogue, "key_column": "sku", "variables": ["name"]}
    items = list(items_of(resources(folder, source, "Is it a {name}?"), DAY))
    assert [(item.item_key, item.variables) for item in items] == [("0", {"name": "Чайник"}), ("1", {"name": "Чайник"})]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"query": QUERY.replace("uri,", "")}, "the query for 2026-11-22, row 1: there is no column 'uri'"),
        (
            {"query": QUERY.replace("photos", "fotos")},
            "source.query: Catalog Error: Table with name fotos does not exist",
        ),
        (
            {"query": f"SELECT {{partition}}, * FROM ({QUERY}) JOIN photos USING (sku)"},
            "source.query: column 'uri' is there 2 times; leave one, or rename the others",
        ),
        ({"query_file": "/nowhere/c.duckdb"}, "source.query_file: /nowhere/c.duckdb cannot be opened"),
    ],
)
def test_a_query_that_cannot_be_answered_is_named(folder, catalogue, change, said):
    source = {"query": QUERY, "query_file": catalogue, **change}
    with pytest.raises(InputError) as caught:
        list(items_of(resources(folder, source), DAY))
    assert str(caught.value).startswith(said)


def test_a_value_that_a_query_cannot_cast_is_told_at_whatever_row_it_is(folder):
    path = str(folder / "many.duckdb")
    with duckdb.connect(path) as db:
        uri = f"file://{folder}/photos/a.jpg"
        texts = "CASE WHEN n = 30000 THEN 'zz' ELSE '2026-11-22' END AS day"
        db.execute(f"CREATE TABLE photos AS SELECT '{uri}' AS uri, n, {texts} FROM range(40000) rows(n)")
    query = "SELECT uri, n, day::date AS day FROM photos WHERE {partition} <> ''"
    source = {"query": query, "query_file": path, "key_column": "n"}
    with pytest.raises(InputError, match=r'source\.query: Conversion Error: invalid date field format: "zz"'):
        list(items_of(resources(folder, source), DAY))
    listing = Listing(resources(folder, source), [DAY], [])
    assert list(listing) == []
    assert list(listing.skipped) == [DAY]


def test_a_query_over_a_connection_is_asked_with_its_partition(folder):
    asked = []

    def rows(*words):
        asked.append(words)
        yield {"uri": f"file://{folder}/photos/a.jpg"}

    source = {"query": QUERY, "query_connection": "dwh"}
    [item] = items_of(resources(folder, source, query_rows=rows), DAY)
    assert item.uri.endswith("/a.jpg")
    assert asked == [("dwh", QUERY, DAY, {"uri"})]
    with pytest.raises(
        ConnectionInputError,
        match=r"connection 'dwh' of source\.query_connection is not known here: .* AIRFLOW_CONN_DWH",
    ):
        list(items_of(resources(folder, source), DAY))


def test_a_partition_is_bound_and_never_spliced():
    query = "SELECT {x}, '5%' FROM t WHERE a = {partition} OR b > {partition}"
    evil = "'; DROP TABLE t; --"
    assert bound(query, evil, "?") == ("SELECT {x}, '5%' FROM t WHERE a = ? OR b > ?", (evil, evil))
    assert bound(query, evil, "%s")[0] == "SELECT {x}, '5%%' FROM t WHERE a = %s OR b > %s"


def test_comments_have_no_parameters(folder, catalogue):
    query = "-- it's 100% of {partition}\nSELECT '--', x FROM t /* {partition}'s */ WHERE a = {partition} AND b = '/*'"
    assert bound(query, DAY, "?") == (query.replace("= {partition}", "= ?"), (DAY,))
    assert bound(query, DAY, "%s") == (query.replace("%", "%%").replace("= {partition}", "= %s"), (DAY,))
    source = {"query": f"-- what isn't old of {{partition}}\n{QUERY}", "query_file": catalogue, "key_column": "sku"}
    assert [item.item_key for item in items_of(resources(folder, source), DAY)] == ["0", "1"]


def test_days_may_be_folders_of_years_and_months(folder):
    path = folder / "year=2026" / "month=11" / "d22"
    path.mkdir(parents=True)
    (path / "a.jpg").write_bytes(b"x")
    uri = f"file://{folder}/year={{partition:%Y}}/month={{partition:%m}}/d{{partition:%d}}/"
    [item] = items_of(resources(folder, {"uri": uri}), DAY)
    assert (item.partition, item.uri) == (DAY, f"file://{path}/a.jpg")


@pytest.fixture
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket="shop")
    yield client
    server.stop()


def test_a_manifest_in_a_bucket_names_objects_below_its_own_folder(folder, s3):
    s3.put_object(Bucket="shop", Key="in/photos/цена 1.jpg", Body=b"x")
    s3.put_object(Bucket="shop", Key=f"in/{DAY}.csv", Body="uri\ns3://shop/in/photos/цена 1.jpg\n".encode())
    source = {"manifest": "s3://shop/in/{partition}.csv", "allowed_prefixes": []}
    [item] = items_of(resources(folder, source, s3_client=lambda: s3), DAY)
    assert (item.size_bytes, item.etag) == (1, "9dd4e461268c8034f5c8564e155c67a6")
    s3.put_object(Bucket="shop", Key=f"in/{DAY}.csv", Body=b"uri\ns3://shop/secret.jpg\n")
    with pytest.raises(InputError, match=r"'s3://shop/secret\.jpg' lies outside of s3://shop/in/"):
        list(items_of(resources(folder, source, s3_client=lambda: s3), DAY))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"uri": "file://@/fotos/{partition}/"}, "at file://@/fotos/2026-11-22/ for names with the ending .jpg, "),
        ({"manifest": "file://@/lists/{partition}.csv"}, "in the manifest"),
    ],
)
def test_a_day_without_images_tells_where_they_were_looked_for(folder, source, told, caplog):
    (folder / "lists" / f"{DAY}.csv").write_text("uri\n")
    found = resources(folder, {name: text.replace("@", str(folder)) for name, text in source.items()})
    assert list(Listing(found, [DAY], [DAY])) == []
    assert f"There are no images of {DAY}: looked {told.replace('@', str(folder))}" in caplog.text


EARLIER = "2026-11-21"


@pytest.mark.parametrize("damage", ["file", "value"])
def test_a_damaged_list_of_another_day_keeps_no_image_from_being_asked(folder, damage, caplog):
    (folder / "lists" / f"{DAY}.parquet").write_bytes(parquet(folder, x=["x", "y"]))
    earlier = parquet(folder, x=pa.array([0, 2**30], pa.date32()))
    if damage == "file":
        earlier = earlier[:4] + bytes(40) + earlier[44:-60] + b"\xff" * 20 + earlier[-40:]
    (folder / "lists" / f"{EARLIER}.parquet").write_bytes(earlier)
    source = {"manifest": f"file://{folder}/lists/{{partition}}.parquet", "variables": ["x"]}
    listing = Listing(resources(folder, source, "Is it {x}?"), [EARLIER, DAY], [DAY])
    assert [item.variables["x"] for item in listing if item.partition == DAY] == ["x", "y"]
    assert list(listing.skipped) == [EARLIER]
    assert f"{EARLIER} is left out, its list is wrong: file://{folder}/lists/{EARLIER}.parquet" in caplog.text


def test_a_list_that_storage_does_not_give_now_is_not_a_wrong_one(folder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=nobody, config=Config(retries={"total_max_attempts": 1}), **keys)
    source = {"manifest": "s3://shop/in/{partition}.parquet", "allowed_prefixes": []}
    listing = Listing(resources(folder, source, s3_client=lambda: client), [EARLIER], [])
    with pytest.raises(ServiceUnavailableError):
        list(listing)
    assert listing.skipped == {}


def test_a_day_with_images_tells_nothing(folder, caplog):
    (folder / "photos" / DAY).mkdir()
    (folder / "photos" / DAY / "a.jpg").write_bytes(b"a")
    found = resources(folder, {"uri": f"file://{folder}/photos/{{partition}}/"})
    assert len(list(Listing(found, [DAY], [DAY]))) == 1
    assert caplog.text == ""
