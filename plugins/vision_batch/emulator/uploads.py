"""Take the bytes of uploads: whole files, and parts that are joined later."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from vision_batch.emulator.state import durable
from vision_batch.emulator.validation import UPLOAD


class WrongLengthError(Exception):
    """Say that a body is not as long as announced."""


async def receive(
    chunks: AsyncIterator[bytes], target: Path, length: int, *, check: Callable[[], None] = lambda: None
) -> str:
    """Write a body to a file, all or nothing; return its hexadecimal MD5.

    :param check: raises if the file is not wanted any more, now that all of it has come.
    :raises WrongLengthError: it has another number of bytes.
    """
    # A client that has given up may still be sending when it tries again: each attempt has a draft of its own.
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    digest, got = hashlib.md5(usedforsecurity=False), 0
    try:
        with draft.open("wb") as stream:
            async for chunk in chunks:
                got += len(chunk)
                digest.update(chunk)
                stream.write(chunk)
            if got != length:
                raise WrongLengthError(f"{got} bytes came, {length} were announced")
            await asyncio.to_thread(durable, stream)
        check()
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
    return digest.hexdigest()


def part_path(folder: Path, number: int) -> Path:
    """Return where a part lies; make the folder if it is not there."""
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    return parts / f"{number:05d}"


def join_parts(folder: Path, numbers: Iterable[int]) -> int:
    """Make the upload out of its parts, which stay, and return its size in bytes."""
    draft = folder / f"{UPLOAD}.part"
    with draft.open("wb") as whole:
        for number in numbers:
            with part_path(folder, number).open("rb") as part:
                shutil.copyfileobj(part, whole, 1024 * 1024)
        durable(whole)
    size = draft.stat().st_size
    draft.rename(folder / UPLOAD)
    return size


def parts_bytes(folder: Path, numbers: Iterable[int]) -> int:
    """Return how many bytes parts have together."""
    return sum(part_path(folder, number).stat().st_size for number in numbers)


def drop_parts(folder: Path) -> None:
    """Remove the parts of an upload."""
    shutil.rmtree(folder / "parts", ignore_errors=True)


def drop_drafts(state: Path) -> None:
    """Remove what transfers have left that a kill has ended."""
    for draft in state.glob("datasets/**/*.part"):
        draft.unlink()
