"""What Airflow loads by the installed package's entry point, whatever its plugins folder is."""

from airflow.plugins_manager import AirflowPlugin

from vision_batch.triggers import kills


class MarksPlugin(AirflowPlugin):
    """Let the API server note whose wait a person marks as failed."""

    name = "vision_batch_marks"
    listeners = [kills]  # noqa: RUF012 - as Airflow declares it
