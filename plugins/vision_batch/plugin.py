"""The package as an Airflow plugin, found by its entry point or in the plugins folder."""

from airflow.plugins_manager import AirflowPlugin

from vision_batch.triggers import kills


class VisionBatchPlugin(AirflowPlugin):
    """Let the API server note whose wait a person marks as failed; operators are imported from the package directly."""

    name = "vision_batch"
    listeners = [kills]  # noqa: RUF012 - as Airflow declares it
