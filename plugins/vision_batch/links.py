"""Link from a task in Airflow's UI to what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from vision_batch.service.console import job_page

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from vision_batch.service.types import ServiceConfig


class JobLink(BaseOperatorLink):
    """Lead to the job's page in AI Studio's console; Airflow keeps the address as an XCom of the task."""

    name = "Job in the console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return what the operator has noted in ``job_page``; empty while there is no job."""
        del ti_key
        return getattr(operator, "job_page", "")


def page_of_job(config: ServiceConfig, job_id: str) -> str:
    """Return the address of a job's page, as the connection says."""
    return job_page(config.console_url, folder_id=config.folder_id, job_id=job_id)
