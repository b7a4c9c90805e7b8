"""Let Airflow find the plugin in its plugins folder, where the package is not installed."""

from vision_batch.plugin import VisionBatchPlugin

__all__ = ["VisionBatchPlugin"]
