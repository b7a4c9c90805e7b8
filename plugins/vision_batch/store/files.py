"""Keep objects as files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from vision_batch.errors import (
    InputError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    ObjectUnreadableError,
    StaleWriteError,
)
from vision_batch.store.protocol import ObjectInfo

log = logging.getLogger(__name__)


class FileStore:
    """Keep objects as files; for one machine, or a file system with POSIX locks shared by all workers."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the files below ``prefix``, sorted; hidden files and folders are passed over."""
        path = _path(prefix)
        folder, begins = (path, "") if prefix.endswith("/") else (path.parent, path.name)
        for found in _files_below(str(folder), begins):
            with suppress(ObjectMissingError):  # deleted while listing
                yield self.info(f"file://{found}")

    def folders(self, uri: str) -> Iterator[str]:
        """Yield the names of the folders below; hidden ones are passed over."""
        yield from sorted(name[:-1] for name in _names_in(str(_path(uri))) if name.endswith("/"))

    def info(self, uri: str) -> ObjectInfo:
        """Describe one file."""
        try:
            stat = _path(uri).stat()
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissingError(f"{uri} does not exist") from None
        except OSError as error:
            raise ObjectUnreadableError(f"{uri} cannot be looked at: {error.strerror}") from None
        return ObjectInfo(uri, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC), _file_etag(stat))

    def read(self, uri: str, *, if_match: str | None = None) -> bytes:
        """Return a file's bytes, all of one version."""
        return self.head(uri, -1, if_match=if_match)

    def head(self, uri: str, length: int, *, if_match: str | None = None) -> bytes:
        """Return a file's first bytes, all of one version; all of them for a negative length."""
        try:
            with _path(uri).open("rb") as file:
                before = _file_etag(os.fstat(file.fileno()))
                body = file.read(length)
                after = _file_etag(os.fstat(file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissingError(f"{uri} does not exist") from None
        except OSError as error:
            raise ObjectUnreadableError(f"{uri} cannot be read: {error.strerror}") from None
        if if_match is not None and {before, after} != {if_match}:
            raise ObjectChangedError(f"{uri} has changed: found version {after}, wanted {if_match}")
        return body

    def read_versioned(self, uri: str) -> tuple[bytes, str]:
        """Return a file's bytes and their hash."""
        body = self.read(uri)
        return body, _body_version(body)

    def create(self, uri: str, body: bytes) -> None:
        """Create a file atomically: a hard link fails if the name is taken."""
        path = _path(uri)
        with _temporary_beside(path, body) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise ObjectExistsError(f"{uri} is already there") from None
        _sync_folder(path.parent)

    def swap(self, uri: str, body: bytes, *, version: str | None) -> str:
        """Replace a file under a lock, if its content is still the one with hash ``version``."""
        path = _path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f".{path.name}.lock")):
            try:
                found: str | None = _body_version(path.read_bytes())
            except FileNotFoundError:
                found = None
            if found != version:
                raise StaleWriteError(f"{uri} was replaced by somebody else: read it again")
            with _temporary_beside(path, body) as temporary:
                Path(temporary).replace(path)
            _sync_folder(path.parent)
        return _body_version(body)

    def delete(self, uri: str) -> None:
        """Remove a file."""
        _path(uri).unlink(missing_ok=True)


def _path(uri: str) -> Path:
    scheme, _, path = uri.partition("://")
    if scheme != "file" or not path.startswith("/"):
        raise InputError(f"{uri!r} is not an absolute file:// URI such as file:///data/images/")
    return Path(path)


def _files_below(folder: str, begins: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Yield the files below a folder, sorted by path. Links are followed, unless they lead back: that has no end.

    :param begins: what the names directly in the folder begin with.
    :param above: the folders that it is in, as the file system knows them.
    """
    names = [name for name in _names_in(folder) if name.startswith(begins)]
    try:
        stat = Path(folder).stat()
    except (FileNotFoundError, NotADirectoryError):  # as _names_in has found, or deleted since
        return
    here = (stat.st_dev, stat.st_ino)
    if here in above:
        log.warning("%s is passed over: it is a link to a folder that it is in itself.", folder)
        return
    for name in names:
        path = f"{folder.rstrip('/')}/{name}"
        if name.endswith("/"):
            yield from _files_below(path[:-1], above=above | {here})
        else:
            yield path


def _names_in(folder: str) -> list[str]:
    """Return the names of files and folders in a folder, sorted, those of folders with a slash; hidden ones are none.

    :raises ObjectUnreadableError: if that cannot be told; an empty folder would look like images that are gone.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(filter(None, map(_listed, entries)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ObjectUnreadableError(f"file://{folder} cannot be listed: {error.strerror}") from None


def _listed(entry: os.DirEntry[str]) -> str | None:
    """Return how an entry is listed, or ``None`` if it is not: links that lead nowhere, or to themselves, are not."""
    if entry.name.startswith("."):
        return None
    try:
        if entry.is_dir():
            return f"{entry.name}/"
        return entry.name if entry.is_file() else None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        log.warning("%s is passed over: it is a link to itself.", entry.path)
        return None


def _file_etag(stat: os.stat_result) -> str:
    return f"{stat.st_mtime_ns}-{stat.st_size}"


def _body_version(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@contextmanager
def _temporary_beside(path: Path, body: bytes) -> Iterator[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        yield temporary
    finally:
        Path(temporary).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
