"""Register the package with Airflow."""

from airflow.plugins_manager import AirflowPlugin


class VisionBatchPlugin(AirflowPlugin):
    """Show in ``airflow plugins`` that the package is there; operators are imported from it directly."""

    name = "vision_batch"
