"""Compose the flow of an enrichment by hand from the operator and the sensor.

``dags/enrichments.py`` builds the same for every declaration. Write it out like this to put tasks of your own between.
"""

import os
from pathlib import Path

from airflow.sdk import DAG, task_group

from vision_batch.enrichment.reader import load_declaration
from vision_batch.operators.run import VisionBatchClaimOperator, VisionBatchPlanOperator, VisionBatchPublishOperator
from vision_batch.operators.shard import VisionBatchCleanOperator, VisionBatchLoadOperator, VisionBatchPrepareOperator
from vision_batch.operators.submit import VisionBatchSubmitOperator
from vision_batch.sensors.job import VisionBatchSensor

include = Path(__file__).resolve().parents[2] / "include"
photo_quality = load_declaration(
    include / "enrichments" / "photo_quality.yaml", include_folder=include, environ=os.environ
)

with DAG(dag_id="example-composed-by-hand", schedule=None, catchup=False, tags={"example"}, doc_md=__doc__) as dag:
    plan = VisionBatchPlanOperator(task_id="plan", declaration=photo_quality)
    claim = VisionBatchClaimOperator(task_id="claim", declaration=photo_quality, plan=plan.output)

    @task_group
    def each_shard(shard: str) -> None:
        """Ask one shard."""
        prepare = VisionBatchPrepareOperator(task_id="prepare", declaration=photo_quality, shard=shard)
        submit = VisionBatchSubmitOperator(task_id="submit", declaration=photo_quality, shard=prepare.output)
        wait = VisionBatchSensor(task_id="wait", conn_id=photo_quality.connection, job_id=submit.output)
        load = VisionBatchLoadOperator(task_id="load", declaration=photo_quality, shard=shard)
        clean = VisionBatchCleanOperator(task_id="clean", declaration=photo_quality, shard=shard, wait=wait.task_id)
        prepare >> submit >> wait >> load >> clean.as_teardown()

    publish = VisionBatchPublishOperator(
        task_id="publish", declaration=photo_quality, plan=plan.output, shards=claim.output
    )
    each_shard.expand(shard=claim.output) >> publish
