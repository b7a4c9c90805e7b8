"""Compare the prepare stage on one worker with two, each pinned to one core; print the ratio.

Target: two workers take at most 0.75 of the time of one, best of three rounds. A worker is a process of its own that
does what the prepare task does before it calls the service: read, guard, fit, encode, look up copies, spool. Shards are
dealt out beforehand, as Celery deals out mapped tasks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from targets import Target, verdict

from vision_batch.enrichment.reader import load_declaration
from vision_batch.steps.claim import claim
from vision_batch.steps.plan import plan
from vision_batch.steps.resources import Resources
from vision_batch.steps.spool import spool_requests

ROUNDS = 3
SHARDS, PICTURES = 8, 12
WIDTH, HEIGHT = 3000, 2000
DAY = "2026-11-22"
TARGET = 0.75
DECLARATION = f"""
name: bench
model: gemma-3-12b-it
work_folder: ${{BENCH}}/work
source: {{uri: "${{BENCH}}/bucket/{{partition}}/"}}
destination: {{type: duckdb, path: "${{BENCH}}/warehouse.duckdb", table: bench.answers}}
prompt: prompts/bench.md
answer: {{fields: {{colour: {{type: string, description: the colour}}}}}}
limits: {{max_rows_per_shard: {PICTURES}}}
"""


def resources(folder: Path) -> Resources:
    """Open the benchmark's enrichment; no service is called."""
    path = folder / "include" / "enrichments" / "bench.yaml"
    declaration = load_declaration(path, include_folder=path.parents[1], environ={**os.environ, "BENCH": str(folder)})
    return Resources(declaration)


def make(folder: Path) -> list[str]:
    """Draw noisy photographs, declare an enrichment, claim its shards; return their keys."""
    for name in ("enrichments", "prompts"):
        (folder / "include" / name).mkdir(parents=True)
    (folder / "include" / "enrichments" / "bench.yaml").write_text(DECLARATION)
    (folder / "include" / "prompts" / "bench.md").write_text("What colour is it?")
    bucket = folder / "bucket" / DAY
    bucket.mkdir(parents=True)
    for number in range(SHARDS * PICTURES):
        noise = Image.effect_noise((WIDTH // 8, HEIGHT // 8), 40 + number % 60).resize((WIDTH, HEIGHT))
        noise.convert("RGB").save(bucket / f"{number:03}.jpg", quality=88)
    made = resources(folder)
    return list(claim(made, plan(made, [DAY]).uri, [DAY], "bench").shards)


def work(folder: Path, keys: list[str]) -> None:
    """Prepare shards one after the other in this process; begin when standard input says so."""
    made = resources(folder)
    print("ready", flush=True)
    sys.stdin.readline()
    for key in keys:
        with tempfile.TemporaryDirectory(prefix="vision-batch-bench-") as spool:
            spooled = spool_requests(made, made.shard(key), Path(spool))
            assert spooled.requests == PICTURES, spooled.requests  # noqa: S101 - or it measures nothing


def seconds(folder: Path, hands: list[tuple[int, list[str]]]) -> float:
    """Run a worker for each core with its shards, started together; return how long the slowest took."""
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--folder", str(folder), "--core", str(core), *keys],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for core, keys in hands
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None  # noqa: S101 - it is a pipe
        worker.stdout.readline()
    began = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None  # noqa: S101 - it is a pipe
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:  # only now: to wait for one would keep the next from beginning
        worker.communicate()
    taken = time.perf_counter() - began
    if any(worker.returncode for worker in workers):
        raise SystemExit("a worker failed")
    return taken


def compare(folder: Path) -> int:
    """Print both times and their ratio, the best of three rounds."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < len(("one", "two")):
        print("This machine has one core: nothing to compare.")
        return 1
    keys = make(folder)
    best = float("inf")
    for number in range(ROUNDS):
        one = seconds(folder, [(cores[0], keys)])
        two = seconds(folder, [(cores[0], keys[::2]), (cores[1], keys[1::2])])
        best = min(best, two / one)
        rate = SHARDS * PICTURES / two
        print(f"round {number + 1}: one worker {one:.2f} s, two {two:.2f} s ({rate:.0f} images/s), {two / one:.2f}")
    return verdict(Target("two workers' time / one worker's, best round", best, most=TARGET))


def main() -> int:
    """Compare; with ``--core``, be one worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--core", type=int)
    parser.add_argument("keys", nargs="*")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
        work(options.folder, options.keys)
        return 0
    with tempfile.TemporaryDirectory(prefix="vision-batch-bench-") as folder:
        return compare(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
