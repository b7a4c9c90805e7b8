"""Read an upload row by row: check it, convert it to Parquet, remember where each row is."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

from vision_batch.emulator.parquet import RowWriter
from vision_batch.emulator.records import RowFault, StoredFile, ValidationWork
from vision_batch.emulator.rows import Row, RowError, parse_row

UPLOAD = "upload.jsonl"
INDEX = "rows.idx"
REQUESTS = "requests.txt"
MAIN = "main"

_MOST_ROWS_IN_A_FAULT = 1000
#: Faults that are told apart by their words; of those beyond, one stands for all of a kind.
_MOST_FAULTS = 20
_PREVIEW_LINES = 10
_PREVIEW_BYTES = 100_000


def validate(folder: Path, task_type: str) -> tuple[ValidationWork, StoredFile | None]:
    """Check the upload in a dataset's folder; ``done_at`` of the result is left to the caller.

    Writes ``main.parquet``, ``rows.idx`` (where each row begins, 64 bits each) and ``requests.txt`` (the hash of each
    request), also when rows are wrong; then the file is not offered.
    """
    faults: dict[tuple[str, str], RowFault] = {}
    starts, valid, number = array("q"), 0, 0
    with RowWriter(folder / f"{MAIN}.parquet", task_type, key=MAIN) as writer, (folder / REQUESTS).open("w") as hashes:
        for number, (start, line) in enumerate(_lines(folder / UPLOAD), 1):
            starts.append(start)
            try:
                row = parse_row(line, task_type)
            except RowError as error:
                _note(faults, error, number)
                continue
            valid += 1
            hashes.write(row.sha256() + "\n")
            writer.add({"request": row.request, "response": row.response}, len(line))
    part = folder / f"{INDEX}.part"
    part.write_bytes(starts.tobytes())
    part.replace(folder / INDEX)
    if number == 0:
        faults["", ""] = RowFault(error="EmptyDataset", description="the file has no rows")
    work = ValidationWork(done_at=0, total_rows=number, valid_rows=valid, faults=list(faults.values()))
    assert writer.file is not None  # noqa: S101 - the writer was closed without an error
    work.parquet_bytes = writer.file.size_bytes
    return work, writer.file


def preview(folder: Path) -> list[str]:
    """Return the first lines of an upload as they are, without the very long ones' ends."""
    found = []
    for _, line in _lines(folder / UPLOAD):
        found.append(line.decode("utf-8", "replace")[:_PREVIEW_BYTES])
        if len(found) == _PREVIEW_LINES:
            break
    return found


class Rows:
    """Give the rows of a checked upload by number, from 0; holds only where they begin."""

    def __init__(self, folder: Path, task_type: str, *, upload: str = UPLOAD) -> None:
        self._stream = (folder / upload).open("rb")
        self._starts = array("q")
        self._starts.frombytes((folder / INDEX).read_bytes())
        self._task_type = task_type

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Row:
        self._stream.seek(self._starts[number])
        return parse_row(self._stream.readline(), self._task_type)

    def close(self) -> None:
        """Close the upload."""
        self._stream.close()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    start = 0
    with path.open("rb") as stream:
        for line in stream:
            yield start, line
            start += len(line)


def _note(faults: dict[tuple[str, str], RowFault], error: RowError, number: int) -> None:
    key = (error.kind, error.description)
    if key not in faults and len(faults) >= _MOST_FAULTS:
        key = (error.kind, "more rows with such mistakes")
    fault = faults.setdefault(key, RowFault(error=error.kind, description=key[1]))
    if len(fault.rows) < _MOST_ROWS_IN_A_FAULT:
        fault.rows.append(number)
