"""What docs/security.md promises and no other test shows, and that every test it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st

import vision_batch_plugin
from vision_batch.enrichment.manifest import MAX_BYTES, manifest_rows, require_size
from vision_batch.errors import DeclarationError, InputError, TransferError
from vision_batch.service.range_file import RangeFile
from vision_batch.service.storage import StorageRetries
from vision_batch.service.transfer import put_file
from vision_batch.steps.partitions import partitions_between

QUICK = StorageRetries(attempts=2, total_seconds=200, wait_initial_seconds=0.01, wait_max_seconds=0.02)
ELSEWHERE = {"Location": "http://169.254.169.254/latest/meta-data/"}


def to_elsewhere(request):
    request.rfile.read(int(request.headers.get("content-length") or 0))
    request.reply(302, b"", ELSEWHERE)
    return True


class Urls:
    def __init__(self, url):
        self.url = url

    async def single(self, _size_bytes):
        return self.url


async def test_an_upload_follows_no_redirect(storage, tmp_path):
    path = tmp_path / "upload.jsonl"
    path.write_bytes(b"body")
    storage.before = to_elsewhere
    with pytest.raises(TransferError, match="302"):
        await put_file(path, Urls(storage.url("single")), retries=QUICK)
    assert len(storage.requests) == 1


def test_a_download_follows_no_redirect(storage):
    storage.before = to_elsewhere
    with urllib3.PoolManager(timeout=100, retries=False) as http, pytest.raises(TransferError, match="302"):
        RangeFile(http, lambda: storage.url("file"), name="a file", retries=QUICK).read(1)
    assert len(storage.requests) == 1


@given(st.text() | st.sampled_from(["../../etc", "2026-11-22/../x", "2026-11-22\n", "{partition}", "'; DROP TABLE x"]))
def test_a_partition_that_a_person_types_is_a_date_and_nothing_else(text):
    try:
        keys = partitions_between(text, text, cron=None, timezone="UTC", key_format="%Y-%m-%d")
    except DeclarationError:
        return
    assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", key) for key in keys)


async def open_routes(app: FastAPI) -> list[str]:
    """Return the routes that answer somebody who did not say who they are."""
    found = []
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
        for route in app.routes:
            for method in route.methods if isinstance(route, APIRoute) else ():
                answer = await client.request(method, re.sub(r"\{[^}]*\}", "x", route.path))
                if answer.status_code not in {401, 403}:
                    found.append(f"{method} {route.path}")
    return found


async def test_no_route_of_the_plugin_answers_strangers():
    plugin = vision_batch_plugin.VisionBatchPlugin
    assert not plugin.fastapi_root_middlewares
    assert not plugin.flask_blueprints
    for served in plugin.fastapi_apps:
        assert await open_routes(served["app"]) == []
    control = FastAPI()
    control.get("/open/{name}")(lambda name: name)
    assert await open_routes(control) == ["GET /open/{name}"]


def test_a_manifest_that_is_too_large_is_not_read():
    require_size(MAX_BYTES, origin="list.csv")
    with pytest.raises(InputError, match=f"list.csv: the manifest has {MAX_BYTES + 1} bytes; allowed are {MAX_BYTES}"):
        require_size(MAX_BYTES + 1, origin="list.csv")


def test_a_manifest_that_would_fill_the_memory_is_refused_by_what_it_says_of_itself(monkeypatch):
    target = pa.BufferOutputStream()
    pq.write_table(pa.table({"uri": ["a" * 1_000_000]}), target, compression="zstd", use_dictionary=False)
    body = target.getvalue().to_pybytes()
    assert len(body) < 10_000
    monkeypatch.setattr("vision_batch.enrichment.manifest.MAX_UNPACKED_BYTES", 900_000)
    with pytest.raises(InputError, match=r"l\.parquet: row group 0 unpacks to 1\d{6} bytes; allowed are 900000"):
        list(manifest_rows(body, "parquet", origin="l.parquet", columns={"uri"}))


def test_every_test_that_the_document_names_is_there(project):
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (project / "docs" / "security.md").read_text()))
    assert len(named) > 30
    defined = {name: functions(project / name) for name, _ in named}
    assert not [f"{path}::{name}" for path, name in sorted(named) if name not in defined[path]]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
