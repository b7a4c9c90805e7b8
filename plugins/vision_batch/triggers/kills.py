"""Tell a wait that a person has marked as failed from one that failed by itself.

Airflow tells a trigger that its task was marked as failed, unless no triggerer has picked the trigger up: then nobody
is told. The wait therefore leaves a note while it is deferred, for the task that cleans up after it. A failure, ours or
Airflow's, that ends a deferred wait with tries left leads to ``up_for_retry``: ``failed`` is a person's doing then.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from typing import Any

from airflow.sdk.definitions.context import Context

log = logging.getLogger(__name__)

#: The XCom that holds the note of a deferred wait. Airflow deletes a task's XComs when a try begins, but not when it
#: goes on after a deferral (3.3, ``execution_api/routes/task_instances.py``, ``ti_run``).
NOTE = "deferred"


@dataclass(frozen=True)
class Deferral:
    """Note that a wait is deferred.

    :param clear_number: how often tasks of the DAG run had been cleared.
    :param deadline: when the wait gives up by itself, in seconds since the epoch.
    """

    job_id: str
    try_number: int
    max_tries: int
    clear_number: int
    deadline: float

    @classmethod
    def read(cls, note: object) -> Deferral | None:
        """Return what a note says; ``None`` for none, or for one of another version."""
        if not isinstance(note, dict) or {each.name for each in fields(cls)} != note.keys():
            return None
        return cls(**note)


def leave_note(context: Context, job_id: str, deadline: float) -> None:
    """Note that this try of a wait is deferred from now on."""
    ti = context["ti"]
    note = Deferral(job_id, ti.try_number, ti.max_tries, context["dag_run"].clear_number or 0, deadline)
    ti.xcom_push(NOTE, asdict(note))


def take_note_back(context: Context) -> None:
    """Note that the wait is not deferred any more."""
    context["ti"].xcom_push(NOTE, None)


def is_killed(state: str | None, deferral: Deferral | None, *, job_id: str, clear_number: int, now: float) -> bool:
    """Tell whether, without any doubt, a person has marked a deferred wait as failed.

    The last try may have failed by itself; what was cleared meanwhile, before its next try began; what is past its
    deadline, before it took its note back.

    :param state: the wait's, ``None`` if it cannot be read.
    :param deferral: what it has noted, if anything.
    """
    return (
        state == "failed"
        and deferral is not None
        and deferral.job_id == job_id
        and 0 < deferral.try_number <= deferral.max_tries
        and deferral.clear_number == clear_number
        and now < deferral.deadline
    )


def was_killed(context: Context, task_id: str, *, job_id: str, now: float) -> bool:
    """Tell whether a person has marked a wait of this map index as failed; what cannot be read is no reason."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    try:
        note = ti.xcom_pull(task_ids=task_id, key=NOTE, map_indexes=map_index)
    except Exception as error:  # noqa: BLE001 - whatever it is: an unreadable note keeps the paid job
        log.warning("The note of the wait could not be read (%s): the job goes on.", type(error).__name__)
        return False
    state, clear_number = task_state(ti.dag_id, task_id, ti.run_id, map_index), context["dag_run"].clear_number or 0
    return is_killed(state, Deferral.read(note), job_id=job_id, clear_number=clear_number, now=now)


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
