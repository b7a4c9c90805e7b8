"""Build the environment in which the demo's processes run.

Settings come from here only: ``AIRFLOW*`` variables of a person's shell would point the demo at a real Airflow.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
DEFAULT_PORT = 443
PARALLELISM = 6
_FOREIGN = ("AIRFLOW", "VISION_BATCH_", "PYTHONPATH", "PYTHONHOME")


@dataclass(frozen=True)
class Keys:
    """Hold the secrets of one stack: made once, kept in a file that only its owner reads."""

    jwt: str = field(repr=False)
    fernet: str = field(repr=False)
    session: str = field(repr=False)
    api_key: str = field(repr=False)


@dataclass(frozen=True)
class Service:
    """Say where AI Studio is.

    :param endpoint: ``host:port`` (443 without a port); empty means the service's own address.
    :param unit_price: price of one billing unit, as text; empty when it is not known.
    :param console_url: where people look at a job; empty for the service's own console.
    """

    folder_id: str
    api_key: str = field(repr=False)
    endpoint: str = ""
    tls: bool = True
    unit_price: str = ""
    console_url: str = ""

    def connection(self) -> str:
        """Give the Airflow connection as the JSON of an ``AIRFLOW_CONN_*`` variable."""
        extra: dict[str, object] = {"folder_id": self.folder_id, "tls": self.tls}
        if self.unit_price:
            extra["unit_price"] = self.unit_price
        if self.console_url:
            extra["console_url"] = self.console_url
        host, _, port = self.endpoint.partition(":")
        place = {"host": host, "port": int(port or DEFAULT_PORT)} if host else {}
        return json.dumps({"conn_type": "ai_studio", "password": self.api_key, **place, "extra": extra})


def load_keys(path: Path) -> Keys:
    """Read the stack's secrets, or make them the first time (mode 0600)."""
    if path.exists():
        return Keys(**json.loads(path.read_text()))
    keys = Keys(
        jwt=secrets.token_hex(64),
        fernet=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        session=secrets.token_hex(32),
        api_key=f"demo-{secrets.token_hex(16)}",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(keys), file)
    return keys


def free_port() -> int:
    """Find a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def base_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Keep what a process needs of a person's environment, and keep proxies away from this machine's own address."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_FOREIGN)}
    for name in ("no_proxy", "NO_PROXY"):
        kept[name] = ",".join(filter(None, [kept.get(name, ""), HOST, "localhost"]))
    return kept


def airflow_environ(folder: Path, project: Path, *, database_url: str, port: int, keys: Keys) -> dict[str, str]:
    """Give Airflow's settings for one stack.

    :param folder: everything that Airflow writes goes below it.
    :param project: the folder that holds ``dags`` and ``plugins``.
    :param port: of the API server, on 127.0.0.1.
    """
    home = folder / "airflow"
    url = f"http://{HOST}:{port}"
    options = {
        "core__dags_folder": project / "dags",
        "core__plugins_folder": project / "plugins",
        "core__executor": "LocalExecutor",
        "core__parallelism": PARALLELISM,
        "core__load_examples": False,
        "core__dags_are_paused_at_creation": True,
        "core__fernet_key": keys.fernet,
        "core__simple_auth_manager_all_admins": True,
        "core__execution_api_server_url": f"{url}/execution/",
        # The default resolves the host's full name, which hangs where DNS does not answer.
        "core__hostname_callable": "socket.gethostname",
        "database__sql_alchemy_conn": database_url,
        "api__host": HOST,
        "api__port": port,
        "api__base_url": url,
        "api__workers": 1,
        "api__secret_key": keys.session,
        "api_auth__jwt_secret": keys.jwt,
        "logging__base_log_folder": home / "logs",
        "usage_data_collection__enabled": False,
        **_PACE,
    }
    return {
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{name.upper()}": str(value) for name, value in options.items()},
    }


# A demo is watched: Airflow looks at things more often than in production, and notices a killed task in seconds.
_PACE: dict[str, object] = {
    "scheduler__scheduler_idle_sleep_time": 0.5,
    "scheduler__scheduler_heartbeat_sec": 2,
    "scheduler__task_instance_heartbeat_sec": 5,
    "scheduler__task_instance_heartbeat_timeout": 30,
    "scheduler__task_instance_heartbeat_timeout_detection_interval": 5,
    "scheduler__orphaned_tasks_check_interval": 15,
    "scheduler__scheduler_health_check_threshold": 20,
    "scheduler__trigger_timeout_check_interval": 5,
    "workers__min_heartbeat_interval": 1,
    "triggerer__job_heartbeat_sec": 2,
    "triggerer__triggerer_health_check_threshold": 20,
    "dag_processor__refresh_interval": 10,
    "dag_processor__bundle_refresh_check_interval": 2,
    "dag_processor__min_file_process_interval": 15,
    "dag_processor__stale_dag_threshold": 20,
}
