"""Tidy up after runs that died."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from vision_batch.enrichment.declaration import Declaration
from vision_batch.operators.base import EnrichmentOperator, resources_of, task_page


class VisionBatchJanitorOperator(EnrichmentOperator):
    """Close an enrichment's shards that are over, delete what is left of them on the service, report the rest.

    Nothing paid is lost by it: a shard that is not loaded stays open, and the next run over its partitions goes on.

    :return: what was closed and deleted, and what remains.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Tidy."""
        from vision_batch.steps.janitor import tidy  # noqa: PLC0415 - heavy

        return tidy(self.open_resources(context)).as_dict()


class VisionBatchRemovedOperator(BaseOperator):
    """Warn of what enrichments have left whose declaration was removed or renamed while shards were open.

    Nothing is deleted: the log says what is left, and what a person can do about it.

    :param declarations: the enrichments whose work folders and connections are looked at.
    :param declared: the names of all enrichments, those of broken declarations among them.
    :param nameless: files of broken declarations that give no name: while there are any, nothing counts as removed.
    :return: what is left of removed enrichments, and what could not be looked at.
    """

    def __init__(
        self,
        *,
        declarations: Sequence[Declaration],
        declared: Collection[str],
        nameless: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"retries": 2, "doc_md": task_page(type(self)), **kwargs})
        self.nameless = tuple(nameless)
        self.declarations = tuple(declarations)
        self.declared = frozenset(declared)

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and warn."""
        from vision_batch.steps.removed import report_removed  # noqa: PLC0415 - heavy

        del context
        if self.nameless:
            raise AirflowSkipException(
                f"What is removed cannot be told: {', '.join(self.nameless)} are broken and give no name."
            )
        return report_removed(self.declarations, self.declared, resources_of).as_dict()


#: States of runs that are not over.
ALIVE = ("queued", "running")

#: How many runs are started for what has waited since one moment: two days of hourly ones that leave it where it is.
MOST_RUNS = 48


class VisionBatchFlushOperator(TriggerDagRunOperator):
    """Start a run of an enrichment that lets nothing wait, if its janitor says that something has waited long enough.

    The run is named after the moment since which the oldest of it has waited, so that no second one is started before
    the first is over, however long it stands in line. None is started while the enrichment's DAG is paused.

    :param tidied: the output of the janitor; templated.
    """

    template_fields: Sequence[str] = (*TriggerDagRunOperator.template_fields, "tidied")

    def __init__(self, *, enrichment: str, tidied: dict[str, Any] | XComArg, **kwargs: Any) -> None:
        super().__init__(trigger_dag_id=enrichment, conf={"flush": True}, **kwargs)
        self.tidied: Any = tidied

    def execute(self, context: Context) -> Any:
        """Start the run, or skip.

        :raises AirflowFailException: if many runs have left it waiting.
        """
        since: str | None = self.tidied["flush_since"]
        if since is None:
            raise AirflowSkipException("Nothing has waited for longer than pack.max_wait or repair.deadline.")
        enrichment, ti = self.trigger_dag_id, context["ti"]
        if ti.get_dag(enrichment).is_paused:
            raise AirflowSkipException(
                f"{enrichment} is paused: what has waited since {since} is sent after it is unpaused."
            )
        run_ids = flush_run_ids(datetime.fromisoformat(since))
        if ti.get_dr_count(enrichment, run_ids=run_ids, states=[*ALIVE]):
            raise AirflowSkipException(f"The run for what has waited since {since} is not over.")
        made = ti.get_dr_count(enrichment, run_ids=run_ids)  # a few less if a person has deleted some
        free = (run_id for run_id in run_ids[made:] if not ti.get_dr_count(enrichment, run_ids=[run_id]))
        self.trigger_run_id = next(free, None)
        if self.trigger_run_id is None:
            raise AirflowFailException(
                f"{MOST_RUNS} runs have not sent what has waited since {since}: see the logs of {run_ids[-1]}"
            )
        return super().execute(context)


def flush_run_ids(since: datetime) -> list[str]:
    """Return the ids of the runs that are started, one after another, until what has waited since then is sent."""
    first = f"flush__{since.astimezone(UTC).isoformat()}"
    return [first, *(f"{first}__{number}" for number in range(2, MOST_RUNS + 1))]
