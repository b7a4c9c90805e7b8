"""Write requests as JSONL lines; read result files by column.

Row formats: AI Studio, "Dataset formats", VLM requests and responses. Result files are Parquet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pybase64

from vision_batch.errors import InputError
from vision_batch.service.join import find_marker, marker_line

if TYPE_CHECKING:
    import pyarrow as pa

    from vision_batch.service.sync import SyncAIStudioClient

__all__ = ["find_marker", "marker_line", "request_hash", "request_line", "results"]

_BEFORE_TEXT = b'{"request":[{"role":"user","content":[{"type":"text","text":'
_BEFORE_IMAGE = b'},{"type":"image","image":"'
_END = b'"}]}]}\n'


def request_line(prompt: str, image: bytes) -> bytes:
    """Return one request as a line of a dataset: one user message, text first, then the image as raw Base64.

    :raises InputError: if the prompt holds characters that UTF-8 cannot carry.
    """
    try:
        text = json.dumps(prompt, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        found = error.object[error.start]
        raise InputError(f"the prompt has the character {found!r}, which UTF-8 cannot carry") from None
    return b"".join((_BEFORE_TEXT, text, _BEFORE_IMAGE, pybase64.b64encode(image), _END))


def request_hash(request: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of a whole request in a normal form, as hex.

    The form is JSON with sorted keys. Absent fields and nulls are the same, because columns fill what is absent with
    nulls; the order of keys does not matter, the order of messages and of their parts does.

    :param request: its images may be views of memory that hold Base64; they are not copied.
    """
    digest = hashlib.sha256()
    for piece in _normal(request):
        digest.update(piece)
    return digest.hexdigest()


def _normal(value: Any) -> Iterator[bytes | memoryview]:
    """Yield the normal form by pieces."""
    if isinstance(value, Mapping):
        yield b"{"
        kept = {str(name): each for name, each in value.items() if each is not None}
        for number, (name, each) in enumerate(sorted(kept.items())):
            yield f"{', ' if number else ''}{json.dumps(name, ensure_ascii=False)}: ".encode()
            yield from _normal(each)
        yield b"}"
    elif isinstance(value, list | tuple):
        yield b"["
        for number, each in enumerate(value):
            yield b", " if number else b""
            yield from _normal(each)
        yield b"]"
    elif isinstance(value, memoryview):
        yield from (b'"', value, b'"')
    else:
        yield json.dumps(value, ensure_ascii=False).encode()


def results(client: SyncAIStudioClient, dataset_id: str, *, with_images: bool = False) -> Iterator[pa.RecordBatch]:
    """Read a result dataset: record batches of ``text``, ``response`` and, with images, ``request_hash``.

    Only the columns that are needed are fetched, by byte range, and only a part of them is in memory at a time.

    :param with_images: fetch whole requests, to hash them; without, the images stay where they are.
    :raises FinalError: if a file is not a result in a layout we know.
    :raises TransferError: if a file cannot be read after all retries.
    """
    from vision_batch.service.result_files import read_result_files  # noqa: PLC0415 - heavy

    return read_result_files(client, dataset_id, with_images=with_images)
