"""Keep the emulator's state on disk, so that a kill loses nothing that was acknowledged.

``emulator.sqlite`` (write-ahead log, synchronous FULL) holds the records as JSON; files lie beside it, one folder for a
dataset or job::

    datasets/<dataset id>/upload.jsonl, parts/<n>, rows.idx, requests.txt, <key>.parquet
    jobs/<job id>/source.jsonl, rows.idx, requests.txt      links, so that deleting the dataset does not stop the job
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id));
"""


class StateInUseError(Exception):
    """Say that another emulator holds the folder."""


class StateFolder:
    """Own a folder and the database in it.

    :raises StateInUseError: another emulator runs on this folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder / "lock")
        self._database = sqlite3.connect(folder / "emulator.sqlite", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode = WAL", "synchronous = FULL"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the folder."""
        self._database.close()
        self._lock.close()

    def load(self, kind: str) -> Iterator[tuple[str, str]]:
        """Give id and JSON of every record of a kind, in the order of their first writing."""
        yield from self._database.execute("SELECT id, body FROM records WHERE kind = ? ORDER BY rowid", (kind,))

    def save(self, *records: tuple[str, str, str]) -> None:
        """Write records (kind, id, JSON) in one transaction; they are on disk when this returns."""
        with self._transaction():
            self._database.executemany(
                "INSERT INTO records (kind, id, body) VALUES (?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                records,
            )

    def dataset_folder(self, dataset_id: str) -> Path:
        """Return the folder of a dataset's files; make it if it is not there."""
        return _made(self.folder / "datasets" / dataset_id)

    def job_folder(self, task_id: str) -> Path:
        """Return the folder of a job's files; make it if it is not there."""
        return _made(self.folder / "jobs" / task_id)

    def drop_dataset(self, dataset_id: str) -> None:
        """Remove the files of a dataset."""
        shutil.rmtree(self.folder / "datasets" / dataset_id, ignore_errors=True)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def link(source: Path, target: Path) -> None:
    """Give a file a second name, so that it outlives the first one."""
    target.unlink(missing_ok=True)
    os.link(source, target)


def durable(stream: IO[bytes]) -> None:
    """Bring what was written to disk."""
    stream.flush()
    os.fsync(stream.fileno())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _locked(path: Path) -> IO[bytes]:
    lock = path.open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StateInUseError(f"another emulator runs on {path.parent}: end it, or choose another --state") from error
    return lock
