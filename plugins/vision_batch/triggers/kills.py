"""Know that a person has killed a wait, from what nobody else does: marking it as failed in the UI or through the API.

Airflow tells a trigger that its task was marked as failed, unless no triggerer has picked the trigger up: then nobody
is told. The state ``failed`` alone proves nothing, as Airflow sets it with tries left, too: where a deferral could not
be stored, where no process could be started (3.3, ``execution_api/routes/task_instances.py`` and
``scheduler_job_runner.py``). A mark is told to the listeners of the API server, and only a mark has no previous state
(``core_api/services/public/task_instances.py``): the listener here notes it at the wait, for the task that cleans up.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl
from airflow.sdk.definitions.context import Context

log = logging.getLogger(__name__)

#: The XCom that holds the note: how often tasks of the DAG run had been cleared then. The next try deletes it.
NOTE = "marked_as_failed"

#: The sensor's name in Airflow's database.
SENSOR = "VisionBatchSensor"


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any) -> None:
    """Note in the same transaction that a person has marked a wait as failed."""
    if previous_state is not None or getattr(task_instance, "operator", None) != SENSOR:
        return
    from airflow.models.xcom import XComModel  # noqa: PLC0415 - the API server has a database, workers have none
    from sqlalchemy.orm import object_session  # noqa: PLC0415 - the same

    session = object_session(task_instance)
    if session is None:
        log.warning("%s was marked as failed: that could not be noted, there is no session.", task_instance)
        return
    try:
        with session.begin_nested():
            XComModel.set(
                key=NOTE,
                value=task_instance.dag_run.clear_number or 0,
                dag_id=task_instance.dag_id,
                run_id=task_instance.run_id,
                task_id=task_instance.task_id,
                map_index=task_instance.map_index,
                serialize=False,  # a number is JSON as it is; otherwise a text would be stored
                session=session,
            )
    except Exception as error:  # noqa: BLE001 - whatever it is, the person's mark has to stand
        log.warning("%s was marked as failed: that could not be noted (%s).", task_instance, type(error).__name__)


def is_killed(state: str | None, note: object, *, clear_number: int) -> bool:
    """Tell whether a person has marked a wait as failed, and nobody has cleared anything since.

    :param state: the wait's, ``None`` if it cannot be read.
    :param note: what the listener has noted, if anything.
    """
    return state == "failed" and note is not None and note == clear_number


def was_killed(context: Context, task_id: str) -> bool:
    """Tell whether a person has marked a wait of this map index as failed; what cannot be read is no reason."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    try:
        note = ti.xcom_pull(task_ids=task_id, key=NOTE, map_indexes=map_index)
    except Exception as error:  # noqa: BLE001 - whatever it is: an unreadable note keeps the paid job
        log.warning("The note of the wait could not be read (%s): the job goes on.", type(error).__name__)
        return False
    if note is None:
        return False
    state = task_state(ti.dag_id, task_id, ti.run_id, map_index)
    return is_killed(state, note, clear_number=context["dag_run"].clear_number or 0)


def task_state(dag_id: str, task_id: str, run_id: str, map_index: int | None) -> str | None:
    """Read a task instance's state; ``None`` if it cannot be read."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415 - not in DAG files

    try:
        by_task: dict[str, Any] = RuntimeTaskInstance.get_task_states(
            dag_id=dag_id, task_ids=[task_id], run_ids=[run_id], map_index=map_index
        )[run_id]
    except Exception as error:  # noqa: BLE001 - whatever it is: an unreadable state keeps the paid job
        log.warning("The state of the task could not be read (%s): the job goes on.", type(error).__name__)
        return None
    key = task_id if map_index in (None, -1) else f"{task_id}_{map_index}"
    state = by_task.get(key, by_task.get(task_id))
    return None if state is None else str(state)
