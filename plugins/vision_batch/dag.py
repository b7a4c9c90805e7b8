"""Build DAGs from declarations: the only place that does."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, CronTriggerTimetable, task_group
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowFailException

from vision_batch.alerts import deadline_of, notifiers_of
from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.page import broken_page, page_of
from vision_batch.enrichment.reader import declaration_files, declared_name, load_declaration
from vision_batch.errors import DeclarationError, VisionBatchError
from vision_batch.form import run_form
from vision_batch.operators.approve import VisionBatchApproveOperator
from vision_batch.operators.janitor import (
    VisionBatchFlushOperator,
    VisionBatchJanitorOperator,
    VisionBatchRemovedOperator,
)
from vision_batch.operators.run import VisionBatchClaimOperator, VisionBatchPlanOperator, VisionBatchPublishOperator
from vision_batch.operators.shard import VisionBatchCleanOperator, VisionBatchLoadOperator, VisionBatchPrepareOperator
from vision_batch.operators.submit import VisionBatchSubmitOperator
from vision_batch.sensors.job import VisionBatchSensor

log = logging.getLogger(__name__)

#: Names the folder of declarations, if it is not ``include`` beside the folder of DAG files.
INCLUDE_VARIABLE = "VISION_BATCH_INCLUDE"

#: The DAG that tidies up after all enrichments, and its task that belongs to none: no enrichment can have this name.
JANITOR, REMOVED = "ai_studio_janitor", "removed_enrichments"

JANITOR_PAGE = """\
Tidies up after all enrichments, a task for each. It never deletes an answer that is not loaded.

- It closes shards whose job has ended and whose rows are loaded, and deletes their remote datasets.
- It starts a run where small days have waited for longer than `pack.max_wait`; no second one before that is over, and
  none while the enrichment's DAG is paused.
- Its task's XCom says what was closed and what is still open, and why.
- `removed_enrichments` warns of what enrichments have left whose declaration was removed or renamed: open shards in the
  work folders of the others, datasets on the service. It deletes nothing; its log says what you can do.

Keep it unpaused: without it nothing is lost, but remote datasets of dead runs stay, and small days may wait for ever.
"""


def find_include(dag_file: str, environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of declarations: ``VISION_BATCH_INCLUDE``, else ``include`` beside the folder of DAG files.

    :param dag_file: the file that Airflow parses; a relative folder lies beside it.
    :raises DeclarationError: if there is no such folder; Airflow shows that as an import error.
    """
    dags = Path(dag_file).resolve().parent
    named = (os.environ if environ is None else environ).get(INCLUDE_VARIABLE)
    include = dags / named if named else dags.parent / "include"
    if not (include / "enrichments").is_dir():
        told = f"{INCLUDE_VARIABLE} is {named!r}" if named else f"{INCLUDE_VARIABLE} is not set"
        raise DeclarationError(
            f"there is no folder {include / 'enrichments'}, so there are no enrichments; {told}. Put include/ beside "
            f"the folder of DAG files; where only that folder is copied to the workers, put it in there and set "
            f"{INCLUDE_VARIABLE} to 'include'"
        )
    return include


def build_dags(include_folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, DAG]:
    """Build a DAG for every declaration below a folder, and never raise.

    A declaration that cannot be read becomes an unscheduled DAG tagged ``broken`` that shows the message.
    """
    dags: dict[str, DAG] = {}
    broken: dict[Path, Exception] = {}
    for path in declaration_files(include_folder):
        try:
            declaration = load_declaration(path, include_folder=include_folder, environ=environ or os.environ)
            dag = build_dag(declaration)
        except Exception as error:  # noqa: BLE001 - one file must not take the others from the scheduler
            broken[path] = error
        else:
            if dag.dag_id in dags:
                broken[path] = DeclarationError(f"another file declares the name {dag.dag_id!r} already")
            else:
                dags[dag.dag_id] = dag
    for path, problem in broken.items():
        dag = build_broken_dag(path, problem, taken=dags)
        dags[dag.dag_id] = dag
    return dags


def build_dag(declaration: Declaration) -> DAG:
    """Build the DAG of one enrichment: plan, approve with a budget, claim, a mapped group per shard, publish."""
    with DAG(
        dag_id=declaration.name,
        description=declaration.description,
        schedule=_timetable(declaration),
        start_date=declaration.start,
        catchup=False,
        max_active_runs=declaration.limits.max_active_runs,
        tags={*declaration.tags, "vision-batch"},
        doc_md=page_of(declaration),
        deadline=deadline_of(declaration),
        default_args={"owner": declaration.owner},
        render_template_as_native_obj=True,
    ) as dag:
        plan = VisionBatchPlanOperator(task_id="plan", declaration=declaration)
        approval = None
        if declaration.budget.asks:
            approve = VisionBatchApproveOperator(task_id="approve", declaration=declaration, plan=plan.output)
            approval = approve.output
        claim = VisionBatchClaimOperator(task_id="claim", declaration=declaration, plan=plan.output, approval=approval)

        @task_group(group_id="shard")
        def bring_forward(shard: str) -> None:
            """Bring one shard from claimed to closed."""
            prepare = VisionBatchPrepareOperator(task_id="prepare", declaration=declaration, shard=shard)
            submit = VisionBatchSubmitOperator(task_id="submit", declaration=declaration, shard=shard)
            wait = VisionBatchSensor(
                task_id="wait",
                job_id=submit.output,
                conn_id=declaration.connection,
                poke_interval=declaration.limits.poll_interval_seconds,
            )
            load = VisionBatchLoadOperator(task_id="load", declaration=declaration, shard=shard)
            clean = VisionBatchCleanOperator(task_id="clean", declaration=declaration, shard=shard, wait=wait.task_id)
            prepare >> submit >> wait >> load >> clean.as_teardown()

        publish = VisionBatchPublishOperator(
            task_id="publish",
            declaration=declaration,
            plan=plan.output,
            shards=claim.output,
            # It fails whenever anything of the run has failed, and says what.
            on_failure_callback=notifiers_of(declaration.alerts),
        )
        shards = bring_forward.expand(shard=claim.output)
        shards >> publish
    # Not before the tasks, each of which would copy them: a third of the time that a folder of declarations takes.
    dag.params = ParamsDict(run_form(declaration))
    return dag


def build_janitor_dag(include_folder: Path, environ: Mapping[str, str] | None = None) -> DAG:
    """Build the hourly DAG that tidies up after all enrichments, a task each. Broken declarations are left out.

    A task more tells what is left of enrichments that are not declared any more; broken ones are.
    """
    with DAG(
        dag_id=JANITOR,
        description="Closes what dead runs left open, deletes their remote files, reports what remains.",
        schedule=CronTriggerTimetable("23 * * * *", timezone="UTC"),
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags={"vision-batch"},
        doc_md=JANITOR_PAGE,
        is_paused_upon_creation=False,
    ) as dag:
        declarations: dict[str, Declaration] = {}
        broken: dict[str, str | None] = {}
        for path in declaration_files(include_folder):
            try:
                declaration = load_declaration(path, include_folder=include_folder, environ=environ or os.environ)
            except Exception as error:  # noqa: BLE001 - it has a DAG of its own that says what is wrong
                log.warning("The janitor leaves %s out: %s", path.name, error)
                broken[path.name] = declared_name(path)
                continue
            if declarations.setdefault(declaration.name, declaration) is declaration:
                tidied = VisionBatchJanitorOperator(task_id=declaration.name, declaration=declaration).output
                if declaration.pack.min_tokens or declaration.repair.deadline is not None:
                    VisionBatchFlushOperator(
                        task_id=f"{declaration.name}_flush", enrichment=declaration.name, tidied=tidied
                    )
        VisionBatchRemovedOperator(
            task_id=REMOVED,
            declarations=list(declarations.values()),
            declared={*declarations, *filter(None, broken.values())},
            nameless=[file for file, name in broken.items() if name is None],
        )
    return dag


def build_broken_dag(path: Path, error: Exception, *, taken: Collection[str] = ()) -> DAG:
    """Build the DAG that stands for a declaration that cannot be read, under the name its file suggests.

    :param taken: DAG ids that it must not have.
    """
    message = str(error) if isinstance(error, VisionBatchError) else f"{type(error).__name__}: {error}"
    page = broken_page(path.name, message)
    dag_id = re.sub(r"[^a-z0-9-]+", "-", path.stem.lower()).strip("-") or "enrichment"
    while dag_id in taken:
        dag_id += "-broken"
    with DAG(
        dag_id=dag_id,
        dag_display_name=f"{dag_id} (broken: see its docs)",
        description=f"Broken: {message}"[:200],
        schedule=None,
        catchup=False,
        tags={"broken", "vision-batch"},
        doc_md=page,
    ) as dag:
        PythonOperator(task_id="broken", python_callable=_fail_with, op_args=[message], retries=0, doc_md=page)
    return dag


def _fail_with(message: str) -> None:
    raise AirflowFailException(message)


def _timetable(declaration: Declaration) -> CronDataIntervalTimetable | None:
    if declaration.schedule is None:
        return None
    return CronDataIntervalTimetable(declaration.schedule, timezone=declaration.timezone)
