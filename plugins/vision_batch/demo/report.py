"""Compare the answers with the images, and show both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vision_batch.demo.bill import BilledJob
from vision_batch.enrichment.declaration import Declaration

_SHOWN_ROWS = 60
_STATUS_STYLES = {"answered": "green", "rejected": "yellow", "invalid": "yellow", "failed": "red", "missing": "red"}


@dataclass(frozen=True)
class Answers:
    """Hold the rows of one question, as the warehouse file has them.

    :param fields: the names of the answer's own columns.
    """

    rows: tuple[dict[str, Any], ...]
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """Say whether every image has exactly one row."""

    images: int
    rows: int
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    repeated: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Tell whether images and rows are the same set."""
        return not (self.missing or self.surplus or self.repeated) and self.images > 0


def images_in(bucket: Path, partitions: Iterable[str], extensions: Collection[str]) -> list[str]:
    """List the URIs of the images in partitions, by looking at the folders and not by asking the source."""
    endings = tuple(f".{ending.lower().lstrip('.')}" for ending in extensions)
    return [
        f"file://{path}"
        for partition in partitions
        for path in sorted((bucket / partition).rglob("*"))
        if path.is_file()
        and path.name.lower().endswith(endings)
        and not any(part.startswith(".") for part in path.relative_to(bucket).parts)
    ]


def read_answers(warehouse: Path, declaration: Declaration) -> Answers:
    """Read all rows of the declaration's own question; none when there is no table yet."""
    fields = tuple(column.name for column in declaration.answer.columns())
    if not warehouse.exists():
        return Answers((), fields)
    schema, table = declaration.destination.table.split(".")
    known = ("image_uri", "partition", "status", "error", "job_id", "estimated_tokens")
    columns = ", ".join(_quoted(name) for name in (*known, *fields))
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        place = [schema, table]
        there = "select 1 from information_schema.tables where table_schema = ? and table_name = ?"
        if not connection.execute(there, place).fetchone():
            return Answers((), fields)
        found = connection.execute(
            f"select {columns} from {_quoted(schema)}.{_quoted(table)} where question_key = ? "  # noqa: S608 - quoted
            "order by partition, image_uri",
            [declaration.question_key()],
        )
        names = [str(column[0]) for column in found.description]
        return Answers(tuple(dict(zip(names, row, strict=True)) for row in found.fetchall()), fields)


def judge(images: Sequence[str], answers: Answers) -> Verdict:
    """Compare images and rows by URI."""
    rows = Counter(str(row["image_uri"]) for row in answers.rows)
    expected = set(images)
    return Verdict(
        images=len(images),
        rows=rows.total(),
        missing=tuple(sorted(expected - set(rows))),
        surplus=tuple(sorted(set(rows) - expected)),
        repeated=tuple(sorted(uri for uri, count in rows.items() if count > 1)),
    )


def show_answers(answers: Answers, out: Console) -> None:
    """Print the table of answers; of very many, the first ones."""
    table = Table("image", *answers.fields, "status", title="Answers", title_justify="left")
    for row in answers.rows[:_SHOWN_ROWS]:
        status = str(row["status"])
        name = f"{row['partition']}/{Path(str(row['image_uri'])).name}"
        cells = ["" if row[field] is None else str(row[field]) for field in answers.fields]
        said = status if row["error"] is None else f"{status}: {row['error']}"
        table.add_row(*map(escape, (name, *cells)), f"[{_STATUS_STYLES.get(status, 'default')}]{escape(said)}[/]")
    out.print(table)
    if len(answers.rows) > _SHOWN_ROWS:
        out.print(f"... and {len(answers.rows) - _SHOWN_ROWS} more rows.")


def show_partitions(answers: Answers, out: Console) -> None:
    """Print how many rows of which status each partition has."""
    counts: dict[str, Counter[str]] = {}
    for row in answers.rows:
        counts.setdefault(str(row["partition"]), Counter())[str(row["status"])] += 1
    statuses = sorted({status for counter in counts.values() for status in counter})
    table = Table("partition", "rows", *statuses, title="Rows per partition", title_justify="left")
    for partition, counter in sorted(counts.items()):
        table.add_row(partition, str(counter.total()), *(str(counter[status]) for status in statuses))
    out.print(table)


def show_bill(jobs: Sequence[BilledJob], out: Console) -> None:
    """Print every job of the emulator's bill and the sum of its billed tokens."""
    table = Table("job", "rows", "tokens", "billed tokens", "status", title="Jobs", title_justify="left")
    for job in jobs:
        table.add_row(job.job_id, str(job.rows), f"{job.tokens:,}", f"{job.billed_tokens:,}", job.status)
    out.print(table)
    total = sum(job.billed_tokens for job in jobs)
    out.print(f"{len(jobs)} jobs, {total:,} billed tokens: a job costs at least 200,000, however small it is.")


def show_verdict(verdict: Verdict, out: Console) -> None:
    """Print whether images and rows agree, and where they do not."""
    if verdict.good:
        out.print(f"[bold green]Each of the {verdict.images} images has its row, and there is no other row.[/]")
        return
    out.print(f"[bold red]{verdict.images} images, {verdict.rows} rows.[/]")
    for words, uris in (
        ("has no row", verdict.missing),
        ("has a row but no image", verdict.surplus),
        ("has more than one row", verdict.repeated),
    ):
        for uri in uris[:_SHOWN_ROWS]:
            out.print(f"  {escape(uri)} {words}", soft_wrap=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
