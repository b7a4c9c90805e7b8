"""How long 200 declarations take to become DAGs: Airflow parses the folder again and again."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from targets import Target, verdict

#: Declarations, and the seconds that they may take.
FILES, LIMIT_SECONDS = 200, 2.0

PROJECT = Path(__file__).resolve().parents[1]


def declare(include: Path, files: int) -> None:
    """Write that many declarations like the project's own."""
    example = (PROJECT / "include" / "enrichments" / "photo_quality.yaml").read_text()
    for name in ("enrichments", "prompts"):
        (include / name).mkdir(parents=True)
    prompt = PROJECT / "include" / "prompts" / "photo_quality.md"
    (include / "prompts" / prompt.name).write_bytes(prompt.read_bytes())
    for number in range(files):
        text = example.replace("name: photo-quality", f"name: photo-quality-{number}")
        (include / "enrichments" / f"{number}.yaml").write_text(text)


def main() -> int:
    """Parse them twice, as a process that has just started and as one that goes on; return the exit code."""
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AIRFLOW_HOME"] = folder
        from vision_batch.dag import build_dags

        declare(Path(folder) / "include", FILES)
        for when in ("first", "again"):
            wall, began = time.perf_counter(), time.process_time()
            dags = build_dags(Path(folder) / "include", environ={})
            spent, wall = time.process_time() - began, time.perf_counter() - wall
            assert len(dags) == FILES and not [dag for dag in dags.values() if "broken" in dag.tags]  # noqa: S101, PT018
            print(f"{when}: {FILES} declarations in {spent:.2f} s of CPU ({wall:.2f} s)")
            targets.append(Target(f"seconds of CPU for {FILES} declarations, {when}", spent, most=LIMIT_SECONDS))
    return verdict(*targets)


if __name__ == "__main__":
    sys.exit(main())
