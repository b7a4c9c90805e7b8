"""One enrichment whose steps a test carries out without Airflow, against a real emulator."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import duckdb
from PIL import Image

from vision_batch.enrichment.reader import load_declaration
from vision_batch.service.types import ServiceConfig
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.prepare import finish_prepare, prepare
from vision_batch.steps.publish import publish as _publish
from vision_batch.steps.resources import Resources
from vision_batch.steps.submit import Asked, submit

DAYS = ("2026-11-20", "2026-11-21")
KEY, FOLDER = "key-of-the-tests", "b1gtests000000000000"
COLOURS = {"red": "red", "green": "green", "blue": "blue", "white": "white"}


def begins(day):
    """Return when a day begins in Moscow, as Airflow tells it."""
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Moscow")).astimezone(UTC)


class Enrichment:
    """One enrichment with its own bucket, work folder, warehouse and emulator."""

    def __init__(self, folder, project, emulator):
        self.folder, self.emulator = folder, emulator
        environ = {
            "VISION_BATCH_IMAGES": f"file://{folder}/bucket",
            "VISION_BATCH_WORK": f"file://{folder}/work",
            "VISION_BATCH_WAREHOUSE": f"{folder}/warehouse.duckdb",
        }
        include = project / "include"
        path = include / "enrichments" / "photo_quality.yaml"
        self.config = ServiceConfig(folder_id=FOLDER, api_key=KEY, endpoint=emulator.grpc, tls=False)
        self.resources = Resources(load_declaration(path, include_folder=include, environ=environ), self.config)

    def picture(self, day, name, colour="red", size=(320, 240)):
        path = self.folder / "bucket" / day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    def limits(self, **changes):
        declaration = self.resources.declaration
        limits = declaration.limits.model_copy(update=changes)
        self.resources = replace(self.resources, declaration=declaration.model_copy(update={"limits": limits}))

    def claim(self, days=DAYS, run_id="run"):
        return claim(self.resources, plan(self.resources, days).uri, days, run_id).shards

    def prepare(self, key):
        validating = prepare(self.resources, key)
        while validating is not None and finish_prepare(self.resources, key, validating) is None:
            time.sleep(0.02)

    def ask(self, key):
        self.prepare(key)
        asked = submit(self.resources, key)
        assert isinstance(asked, Asked)
        return asked.job_id and self.wait(asked.job_id)

    def wait(self, job_id):
        with self.resources.service() as service:
            while not (job := service.describe_job(job_id)).status.is_terminal:
                time.sleep(0.02)
        return job

    def flush(self, *days):
        return self.run(days, "flush", flush=True)

    def run(self, days=DAYS, run_id="run", *, publish=True, **how):
        keys = claim(self.resources, plan(self.resources, days, **how).uri, days, run_id).shards
        for key in keys:
            self.ask(key)
            load(self.resources, key, run_id)
            assert clean(self.resources, key).closed
        return _publish(self.resources, days, keys, run_id) if publish else None

    def rows(self, columns="*"):
        with duckdb.connect(f"{self.folder}/warehouse.duckdb", read_only=True) as db:
            found = db.sql(f"select {columns} from enrichment.photo_quality order by image_uri")
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    def datasets(self):
        with self.resources.service() as service:
            return service.list_datasets()
