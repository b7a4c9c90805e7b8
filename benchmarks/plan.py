"""Plan 100 000 and 1 000 000 images of a local folder, each in a process of its own; print speed and memory.

Targets: ten times the images take at most twelve times the processor time, in memory that grows by less than 100 bytes
an image. Processor time is compared because it says the same on a machine that is busy with other things.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from PIL import Image
from targets import Target, verdict

from vision_batch.enrichment.reader import load_declaration
from vision_batch.steps.claim import claim
from vision_batch.steps.plan import plan
from vision_batch.steps.resources import Resources

PROJECT = Path(__file__).resolve().parents[1]
COUNTS = (100_000, 1_000_000)
FIRST_DAY = date(2025, 1, 1)
DAYS = [str(FIRST_DAY + timedelta(days=number)) for number in range(365)]
#: As many as a shard holds make 50 shards of a million images.
MAX_SHARDS = 100
#: File systems allow a file no more names than this.
LINKS = 50_000


def main() -> int:
    """Run each count in a process of its own and compare them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measured(options.measure)))
        return 0
    print(f"{'images':>10} {'step':>22} {'seconds':>9} {'images/s':>10} {'processor':>10} {'peak MiB':>9}")
    totals = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as name:
            place(Path(name), count)
            command = [sys.executable, __file__, "--measure", name]
            reply = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        steps = json.loads(reply.stdout)
        for step, spent, busy, peak in steps:
            print(f"{count:>10,} {step:>22} {spent:>9.1f} {count / spent:>10,.0f} {busy:>10.1f} {peak:>9.0f}")
        totals.append((sum(busy for _, _, busy, _ in steps), steps[-1][3]))
    (few_busy, few_peak), (many_busy, many_peak) = totals
    growth = (many_peak - few_peak) * 2**20 / (COUNTS[1] - COUNTS[0])
    return verdict(
        Target("processor time: ten times the images / the images", many_busy / few_busy, most=12),
        Target("bytes of memory for each further image", growth, most=100),
    )


def place(folder: Path, count: int) -> None:
    """Link a few small pictures to many names: planning reads the beginning of each once."""
    sources = []
    for number in range(-(-count // LINKS)):
        sources.append(folder / f"source-{number}.jpg")
        Image.new("RGB", (640 + number, 480), "white").save(sources[-1])
    for day_number, day in enumerate(DAYS):
        path = folder / "bucket" / day
        path.mkdir(parents=True)
        for number in range(day_number, count, len(DAYS)):
            (path / f"image-{number:07d}.jpg").hardlink_to(sources[number % len(sources)])


def measured(folder: Path) -> list[tuple[str, float, float, float]]:
    """Plan, claim and plan again; return name, seconds, processor seconds and peak memory after each step."""
    resources = enrichment(folder)
    found = None
    steps = []
    for name in ("plan", "plan again", "claim", "plan what is claimed"):
        began, busy = time.perf_counter(), time.process_time()
        if name == "claim" and found is not None:
            assert claim(resources, found.uri, DAYS, "run").new == found.shards  # noqa: S101
        else:
            found = plan(resources, DAYS)
        spent, busy = time.perf_counter() - began, time.process_time() - busy
        steps.append((name, spent, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    assert found is not None  # noqa: S101
    assert found.claimed == found.listed  # noqa: S101
    return steps


def enrichment(folder: Path) -> Resources:
    """Give the demo's enrichment over a folder, which may make a hundred shards in a run."""
    environ = {
        "VISION_BATCH_IMAGES": f"file://{folder}/bucket",
        "VISION_BATCH_WORK": f"file://{folder}/work",
        "VISION_BATCH_WAREHOUSE": f"{folder}/warehouse.duckdb",
    }
    path = PROJECT / "include" / "enrichments" / "photo_quality.yaml"
    declaration = load_declaration(path, include_folder=PROJECT / "include", environ=environ)
    limits = declaration.limits.model_copy(update={"max_shards_per_run": MAX_SHARDS})
    return Resources(declaration.model_copy(update={"limits": limits}))


if __name__ == "__main__":
    sys.exit(main())
