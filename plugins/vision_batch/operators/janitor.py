"""Tidy up after runs that died."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import XComArg
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from vision_batch.operators.base import EnrichmentOperator


class VisionBatchJanitorOperator(EnrichmentOperator):
    """Close an enrichment's shards that are over, delete what is left of them on the service, report the rest.

    Nothing paid is lost by it: a shard that is not loaded stays open, and the next run over its partitions goes on.

    :return: what was closed and deleted, and what remains.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Tidy."""
        from vision_batch.steps.janitor import tidy  # noqa: PLC0415 - heavy

        return tidy(self.open_resources(context)).as_dict()


class VisionBatchFlushOperator(TriggerDagRunOperator):
    """Start a run of an enrichment that lets nothing wait, if its janitor says that something has waited long enough.

    :param tidied: the output of the janitor; templated.
    """

    template_fields: Sequence[str] = (*TriggerDagRunOperator.template_fields, "tidied")

    def __init__(self, *, enrichment: str, tidied: dict[str, Any] | XComArg, **kwargs: Any) -> None:
        super().__init__(trigger_dag_id=enrichment, conf={"flush": True}, **kwargs)
        self.tidied: Any = tidied

    def execute(self, context: Context) -> Any:
        """Start the run, or skip."""
        if not self.tidied["flush"]:
            raise AirflowSkipException("Nothing has waited for longer than pack.max_wait or repair.deadline.")
        return super().execute(context)
