"""A million objects below one prefix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from many_keys import PAGE, ManyKeys, serve

#: Enough to fill all that a plan keeps: a batch, its caches, the temporary table's 16 MiB.
FEW, MILLION = 100_000, 1_000_000
FLAT_BYTES = 25_000_000
ASKED = 200
PLAN = """
import json, resource, sys
from vision_batch.enrichment.declaration import Declaration
from vision_batch.steps.plan import plan
from vision_batch.steps.resources import Resources
from vision_batch.store import client_of_environment
declaration = Declaration.model_validate(json.loads(sys.argv[1]))
found = plan(Resources(declaration, s3_client=client_of_environment), ["2026-11-22"])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"listed": found.listed, "planned": found.planned, "left": found.left, "peak": peak}))
"""


@contextmanager
def bucket_of(count):
    server = serve(count)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def planned(folder, count):
    """Plan a bucket of so many keys in a process of its own, where one shard of a few items goes with the run."""
    folder.mkdir()
    declaration = {
        "name": "many",
        "model": "gemma-3-12b-it",
        "work_folder": f"file://{folder}/work",
        "source": {"uri": "s3://many/photos/{partition}/"},
        "prompt": "What is it?",
        "answer": {"fields": {"kind": {"type": "string", "description": "what it is"}}},
        "destination": {"path": f"{folder}/w.duckdb", "table": "enrichment.photos"},
        "limits": {"max_shards_per_run": 1, "max_rows_per_shard": ASKED},
    }
    with bucket_of(count) as address:
        aws = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        done = subprocess.run(
            [sys.executable, "-c", PLAN, json.dumps(declaration)],
            env={**os.environ, **aws, "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million_keys_are_planned_in_flat_memory_from_pages_of_the_listing(tmp_path):
    few = planned(tmp_path / "few", FEW)
    many = planned(tmp_path / "many", MILLION)
    assert (many["listed"], many["planned"], many["left"]) == (MILLION, ASKED, MILLION - ASKED)
    assert (ManyKeys.pages, ManyKeys.read, ManyKeys.others) == (MILLION // PAGE, ASKED, [])
    figures = f"{many['peak'] / 1e6:.0f} MB at most, {(many['peak'] - few['peak']) / 1e6:.1f} MB more than {FEW}"
    print(f"a plan of {MILLION} keys takes {figures}")  # noqa: T201 - the figure is what people want
    assert many["peak"] - few["peak"] < FLAT_BYTES
