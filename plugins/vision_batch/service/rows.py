"""Write requests as JSONL lines; read result files by column.

Row formats: AI Studio, "Dataset formats", VLM requests and responses. Result files are Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pybase64

from vision_batch.errors import InputError
from vision_batch.service.join import find_marker, marker_line
from vision_batch.service.request_hash import RequestHash

if TYPE_CHECKING:
    import pyarrow as pa

    from vision_batch.service.sync import SyncAIStudioClient

__all__ = ["find_marker", "marker_line", "request_line", "results"]

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


def results(
    client: SyncAIStudioClient, dataset_id: str, *, hashing: RequestHash | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a result dataset: record batches of ``text``, ``response`` and, if wanted, ``request_hash``.

    Only the columns that are needed are fetched, by byte range, and only a part of them is in memory at a time.

    :param hashing: fetch whole requests, images included, and hash them so; without, images stay where they are.
    :raises FinalError: if a file is not a result in a layout we know.
    :raises ResultUnseenError: if there is no file: a result without rows is a file without rows.
    :raises TransferError: if a file cannot be read after all retries.
    """
    from vision_batch.service.result_files import read_result_files  # noqa: PLC0415 - heavy

    return read_result_files(client, dataset_id, hashing=hashing)
