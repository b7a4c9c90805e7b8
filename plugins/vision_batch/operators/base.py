"""Give every operator of an enrichment its declaration and the resources it names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from inspect import cleandoc
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.run_params import RunParams
from vision_batch.hooks.ai_studio import AIStudioHook
from vision_batch.hooks.destination import destination_server
from vision_batch.hooks.query import query_rows
from vision_batch.hooks.storage import SharedS3Client
from vision_batch.operators.retry import RetryByErrorType
from vision_batch.steps.resources import Resources
from vision_batch.store import S3ClientFactory


class EnrichmentOperator(BaseOperator):
    """Carry out one step of an enrichment.

    Retries cover lost workers and networks; what a step does is safe to repeat at any time.

    :param declaration: the enrichment.
    """

    def __init__(self, *, declaration: Declaration, **kwargs: Any) -> None:
        kwargs.setdefault("retries", 5)
        kwargs.setdefault("retry_delay", timedelta(seconds=30))
        kwargs.setdefault("retry_policy", RetryByErrorType())
        kwargs.setdefault("doc_md", task_page(type(self)))
        super().__init__(**kwargs)
        self.declaration = declaration

    def open_resources(self, context: Context, *, with_service: bool = True) -> Resources:
        """Return what the step needs, as overridden by the run's params.

        :raises DeclarationError: if a param is wrong.
        :raises ConnectionInputError: if the connection of the service is missing or wrong.
        """
        declaration = RunParams.read(context.get("params") or {}).asked(self.declaration)
        return resources_of(declaration, with_service=with_service)


def resources_of(declaration: Declaration, *, with_service: bool = True) -> Resources:
    """Return what a step needs for an enrichment, from Airflow's connections.

    :raises ConnectionInputError: if the connection of the service is missing or wrong.
    """
    hook = AIStudioHook(declaration.connection)
    config, unit_price = (hook.config(), hook.unit_price()) if with_service else (None, None)
    return Resources(
        declaration, config, s3_client(declaration), destination_server, query_rows, unit_price, meter=_count
    )


def _count(name: str, number: int, tags: Mapping[str, str]) -> None:
    """Count in Airflow's own metrics, wherever these are sent."""
    from airflow.sdk.observability import stats  # noqa: PLC0415 - not while DAG files are parsed

    stats.incr(f"vision_batch.{name}", number, tags=dict(tags))


def task_page(operator: type) -> str:
    """Return what a task's page in the UI says of it: its operator's docstring down to the params."""
    return cleandoc(operator.__doc__ or "").partition("\n\n:")[0]


def s3_client(declaration: Declaration) -> S3ClientFactory | None:
    """Return a way to the S3 client of the source's connection, if anything lies on S3."""
    return SharedS3Client(declaration.storage_connection) if declaration.is_on_s3() else None
