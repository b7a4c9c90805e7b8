"""Keep a run's mapped tasks when the run is done again with fewer shards, and later with more.

Airflow 3.3 marks mapped task instances beyond the present length as removed when a run is cleared onto the DAG's latest
version, and does not bring them back when the length grows again (``models/dagrun.py``,
``_check_for_removed_or_restored_tasks``; ``models/taskmap.py``, ``expand_mapped_task``): a shard would be claimed, and
no task would bring it forward. So the list that is mapped over never shrinks: a place without a shard holds ``None``.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow.sdk.definitions.context import Context

#: Stands in each place while the run's shards are not claimed, or if they never are: a shard's key never looks so.
UNCLAIMED = ""

#: Where the task's state, which outlives clears, keeps the length.
_LENGTH = "places"


def keep_places(context: Context) -> int:
    """Return how many shards the run has had at most, and have so many places also if the task fails from here on."""
    store = context.get("task_state_store")
    found = store.get(_LENGTH) if store is not None else None
    length = found if isinstance(found, int) else 0
    if length:
        context["ti"].xcom_push(key="return_value", value=[UNCLAIMED] * length)
    return length


def fill_places(context: Context, shards: Sequence[str], length: int) -> list[str | None]:
    """Return the shards with as many empty places behind them as the run has had more shards."""
    from airflow.sdk.execution_time.context import NEVER_EXPIRE  # noqa: PLC0415 - not while DAG files are parsed

    store = context.get("task_state_store")
    if store is not None and len(shards) > length:
        store.set(_LENGTH, len(shards), retention=NEVER_EXPIRE)
    return [*shards, *[None] * (length - len(shards))]
