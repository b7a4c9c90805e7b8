"""Keep a few processes running, and leave none of them behind.

Every component is the leader of a session of its own. Stopping it ends the whole session, found by process id and never
by name: also children whose parent died first. The ids are written to a record, so that whatever a killed starter left
running is ended by the next start. Where ``setpriv`` exists (Linux) the kernel ends the components with their starter.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from vision_batch.errors import ServiceUnavailableError

GRACE_SECONDS = 15.0
_POLL_SECONDS = 0.05
_KILLED_SECONDS = 5.0


@dataclass(frozen=True)
class Component:
    """Describe one process.

    :param name: its name in messages; its log is ``<name>.log``.
    :param environ: its whole environment; never shown, because it holds keys.
    :param stop_signal: what asks it to end in good order.
    :param stage: components of a lower stage start earlier and stop later.
    :param unprivileged: as root, run it as ``nobody`` (PostgreSQL refuses root).
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    stop_signal: signal.Signals = signal.SIGINT
    stage: int = 0
    unprivileged: bool = False


class Processes:
    """Start, watch, restart and end components.

    :param log_folder: gets one log file per component, appended to.
    :param record: JSON file that holds the ids of what runs now, and this process's own.
    """

    def __init__(self, log_folder: Path, record: Path) -> None:
        self._log_folder = log_folder
        self._record = record
        self._running: dict[str, tuple[Component, subprocess.Popen[bytes]]] = {}
        self._facts: dict[str, object] = {}
        log_folder.mkdir(parents=True, exist_ok=True)

    def start(self, component: Component) -> None:
        """Start a component; its output is appended to its log."""
        if self.alive(component.name):
            raise ServiceUnavailableError(f"{component.name} is already running; stop it first")
        with self.log_path(component.name).open("ab") as log:
            process = subprocess.Popen(
                [*wrapped(component), *component.command],
                env=dict(component.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[component.name] = (component, process)
        self._write_record()

    def note(self, **facts: object) -> None:
        """Add facts, such as the URL of the UI, to the record."""
        self._facts.update(facts)
        self._write_record()

    def alive(self, name: str) -> bool:
        """Tell whether a component's process runs."""
        return name in self._running and self._running[name][1].poll() is None

    def pid(self, name: str) -> int:
        """Give the process id of a component."""
        return self._running[name][1].pid

    def check(self) -> None:
        """Raise, with the end of its log, when a component has died."""
        for name, (_, process) in self._running.items():
            code = process.poll()
            if code is not None:
                raise ServiceUnavailableError(f"{name} ended by itself with code {code}.\n{self.log_tail(name)}")

    def kill(self, name: str) -> None:
        """End a component at once and without warning, children included."""
        self._end(name, signal.SIGKILL, grace_seconds=0)

    def stop(self, name: str, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End a component in good order; what is left after the grace is killed."""
        self._end(name, self._running[name][0].stop_signal, grace_seconds=grace_seconds)

    def restart(self, name: str) -> None:
        """Start a component that was stopped, killed or has died again."""
        component = self._running[name][0]
        self.start(component)

    def stop_all(self, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End everything, the highest stage first, and remove the record."""
        for stage in sorted({component.stage for component, _ in self._running.values()}, reverse=True):
            members = [item for item in self._running.values() if item[0].stage == stage]
            families = {process.pid: family(process.pid) for _, process in members}
            for component, process in members:
                _signal(process, component.stop_signal)
            deadline = time.monotonic() + grace_seconds
            for _, process in members:
                _wait(process, deadline - time.monotonic())
                end_family(process.pid, families[process.pid])
                _wait(process, _KILLED_SECONDS)
        self._running.clear()
        self._record.unlink(missing_ok=True)

    def log_path(self, name: str) -> Path:
        """Give the log file of a component."""
        return self._log_folder / f"{name}.log"

    def log_tail(self, name: str, *, lines: int = 25) -> str:
        """Give the last lines of a component's log, under a line that names the file."""
        path = self.log_path(name)
        with contextlib.suppress(OSError):
            text = path.read_text(errors="replace").splitlines()[-lines:]
            return "\n".join([f"The end of {path}:", *text])
        return f"{path} cannot be read."

    def _end(self, name: str, how: signal.Signals, *, grace_seconds: float) -> None:
        _, process = self._running[name]
        members = family(process.pid)
        _signal(process, how)
        _wait(process, grace_seconds)
        end_family(process.pid, members)
        _wait(process, _KILLED_SECONDS)
        self._write_record()

    def _write_record(self) -> None:
        components = {
            name: {"pid": process.pid, "created": _created(process.pid)}
            for name, (_, process) in self._running.items()
            if process.poll() is None
        }
        body = {"pid": os.getpid(), "created": _created(os.getpid()), **self._facts, "components": components}
        part = self._record.with_suffix(".part")
        part.write_text(json.dumps(body, indent=2) + "\n")
        part.replace(self._record)


def wrapped(component: Component) -> tuple[str, ...]:
    """Give the words before a command that tie it to its starter and take root's identity away.

    The capability lets ``nobody`` pass through folders above the data that only root may enter; no mode is changed.
    """
    setpriv = shutil.which("setpriv")
    as_nobody = component.unprivileged and os.geteuid() == 0
    if setpriv is None:
        if as_nobody:
            raise ServiceUnavailableError(
                "setpriv was not found, and PostgreSQL does not run as root: install util-linux, or be another user"
            )
        return ()
    words = [setpriv]
    if as_nobody:
        words += ["--reuid=65534", "--regid=65534", "--clear-groups"]
        words += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return (*words, "--pdeathsig", component.stop_signal.name.removeprefix("SIG"), "--")


def family(pid: int) -> list[psutil.Process]:
    """List the living members of a session and all descendants of its leader."""
    found = set(_session(pid))
    with contextlib.suppress(psutil.Error):
        found |= set(psutil.Process(pid).children(recursive=True))
    return list(found)


def end_family(pid: int, known: Iterable[psutil.Process]) -> None:
    """Kill what is left of a component: known members that still run, and late members of its session."""
    left = {*known, *_session(pid)}
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()  # psutil refuses when the id belongs to another process by now
    deadline = time.monotonic() + _KILLED_SECONDS
    while any(map(_lives, left)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def read_record(record: Path) -> dict[str, object] | None:
    """Read who runs a stack; ``None`` when nobody does or the record is from a process that is gone."""
    try:
        body = json.loads(record.read_text())
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def same_process(entry: object) -> psutil.Process | None:
    """Find the process of a record's entry; a reused id is not taken for it."""
    if isinstance(entry, dict) and isinstance(entry.get("pid"), int):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(entry["pid"])
            if process.create_time() == entry.get("created") and _lives(process):
                return process
    return None


def end_leftovers(record: Path) -> list[str]:
    """End components whose starter is gone, and give their names."""
    body = read_record(record)
    components = body.get("components") if body else None
    ended: list[str] = []
    for name, entry in components.items() if isinstance(components, dict) else ():
        process = same_process(entry)
        if process is not None:
            ended.append(str(name))
            members = family(process.pid)
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGINT)
                process.wait(5)
            end_family(process.pid, members)
    record.unlink(missing_ok=True)
    return ended


def _lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; a zombie that its parent never collects does not."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _session(pid: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == pid:
                yield process


def _signal(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(how)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(seconds, _POLL_SECONDS))


def _created(pid: int) -> float | None:
    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return None
