"""Write an enrichment's answers into a file: ``vision-batch export``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision_batch.enrichment.reader import find_declaration
from vision_batch.errors import InputError, VisionBatchError
from vision_batch.steps.resources import Resources
from vision_batch.steps.ways import DESTINATION, FindWays, environment_ways

if TYPE_CHECKING:
    import pyarrow as pa

    from vision_batch.warehouse.protocol import TableSpec

Write = Callable[["pa.Table"], None]


def run(argv: Sequence[str], find_ways: FindWays = environment_ways) -> int:
    """Export, and print how many answers there were; return 0, or 2 if that is not possible."""
    options = _parser().parse_args(argv)
    try:
        with redirect_stdout(sys.stderr):  # what libraries have to say is no result
            declaration = find_declaration(options.enrichment, include_folder=options.include, environ=os.environ)
            ways = find_ways(declaration, options.dsn)
            ways.tell("export", DESTINATION)
            exported = export(ways.resources, options.to, every_question=options.every_question)
    except (VisionBatchError, OSError) as error:
        print(f"vision-batch export: {error}", file=sys.stderr)  # noqa: T201 - a command line prints
        return 2
    print(f"{exported} answers of {declaration.name} in {options.to}")  # noqa: T201
    return 0


def export(resources: Resources, to: Path, *, every_question: bool = False) -> int:
    """Write answers to a file that is there whole or not at all; return how many.

    :param every_question: also answers to earlier questions, not only to the present one.
    :raises InputError: if the file's ending names no format, or its folder is not there.
    """
    writer = WRITERS.get(to.suffix.lower())
    if writer is None:
        raise InputError(f"the file {to.name!r} has no known ending; allowed: {', '.join(WRITERS)}")
    if not to.parent.is_dir():
        raise InputError(f"there is no folder {str(to.parent)!r} for the file {to.name!r}; make it first")
    if to.is_dir():
        raise InputError(f"{str(to)!r} is a folder; name a file")
    spec = resources.table()
    batches = resources.warehouse().answers(spec, every_question=every_question)
    unfinished = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        with writer(unfinished, spec) as write:
            exported = _written(batches, write)
        unfinished.replace(to)
    finally:
        unfinished.unlink(missing_ok=True)
    return exported


def _written(batches: Iterable[pa.RecordBatch], write: Write) -> int:
    import pyarrow as pa

    rows = 0
    for batch in batches:
        write(pa.Table.from_batches([batch]))
        rows += batch.num_rows
    return rows


@contextmanager
def _parquet(path: Path, spec: TableSpec) -> Iterator[Write]:
    from pyarrow.parquet import ParquetWriter

    with ParquetWriter(path, spec.arrow_schema()) as file:
        yield file.write_table


@contextmanager
def _csv(path: Path, spec: TableSpec) -> Iterator[Write]:
    """Write CSV in which texts are quoted, nulls are empty, and lists are JSON."""
    import pyarrow as pa
    from pyarrow import csv

    types = [(field.name, pa.string() if pa.types.is_list(field.type) else field.type) for field in spec.arrow_schema()]
    flat = pa.schema(types)
    with csv.CSVWriter(path, flat) as file:
        yield lambda table: file.write_table(_flattened(table, flat))


@contextmanager
def _jsonl(path: Path, spec: TableSpec) -> Iterator[Write]:
    """Write an object a line, in which JSON is what it says, not a text."""
    kept = [column.name for column in spec.columns if column.type == "json"]

    def line(row: dict[str, Any]) -> str:
        objects = {name: json.loads(row[name]) for name in kept if row[name] is not None}
        return f"{_json({**row, **objects})}\n"

    with path.open("w", encoding="utf-8") as file:
        yield lambda table: file.writelines(map(line, table.to_pylist()))


WRITERS: Mapping[str, Any] = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}


def _flattened(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [
        pa.array([None if value is None else _json(value) for value in column.to_pylist()], pa.string())
        if pa.types.is_list(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=schema)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda moment: moment.isoformat())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vision-batch export", description="Write answers into a file.")
    parser.add_argument("enrichment", help="its name")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="a .parquet, .csv or .jsonl file")
    parser.add_argument("--every-question", action="store_true", help="also answers to earlier questions")
    parser.add_argument(
        "--include", type=Path, default=Path("include"), metavar="FOLDER", help="folder of the declarations"
    )
    parser.add_argument(
        "--dsn",
        metavar="URL",
        help="address of the destination's server (default: Airflow's connection, else VISION_BATCH_DSN)",
    )
    return parser
