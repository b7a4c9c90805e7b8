"""Connect to object storage over an Airflow connection of the Amazon provider."""

from __future__ import annotations

from typing import Any, Final

#: Settings of the S3 client where the connection's ``config_kwargs`` say nothing. Checksums of AWS's own kind are sent
#: only where a call needs them, because other storages refuse them.
CLIENT: Final[dict[str, Any]] = {
    "retries": {"mode": "standard", "total_max_attempts": 8},
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": 32,
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


class SharedS3Client:
    """Give one S3 client to everything that a task opens, made at first use.

    :param conn_id: a connection of type ``aws``; ``endpoint_url`` in its extra names a storage other than Amazon's.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._client: Any = None

    def __call__(self) -> Any:
        """Return the client."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: PLC0415 - heavy
        from botocore.config import Config  # noqa: PLC0415 - heavy

        hook = S3Hook(aws_conn_id=self._conn_id)
        return hook.get_client_type(config=Config(**CLIENT).merge(hook.config))
