"""Answer the rows of a job and write its result."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from vision_batch.emulator.answerer import answer_about
from vision_batch.emulator.measures import UnreadableImageError, measure
from vision_batch.emulator.parquet import RowWriter
from vision_batch.emulator.records import JobWork, StoredFile
from vision_batch.emulator.result_plan import Line, ResultPlan, chosen_rows, plan_result
from vision_batch.emulator.rows import VL_ANSWER, Message, Row
from vision_batch.emulator.submit import SOURCE
from vision_batch.emulator.tokens import TEMPLATE_TOKENS, Size, UnfitImageError, cut, image_tokens, text_tokens
from vision_batch.emulator.validation import MAIN, Rows
from vision_batch.models import Family


@dataclass(frozen=True)
class Order:
    """Hold what is needed to do a job away from the event loop.

    :param window: tokens of prompt, images and answer together.
    :param max_tokens: of an answer, or ``None`` for as many as fit.
    """

    source: Path
    target: Path
    task_type: str
    result_type: str
    family: Family
    window: int
    max_tokens: int | None = None
    scenarios: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass
class Answers:
    """Hold an answer for each row, or why there is none."""

    texts: list[str] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    tokens: int = 0


class LineError(Exception):
    """Say why one row cannot be answered."""


def fulfil(order: Order) -> tuple[JobWork, list[StoredFile]]:
    """Answer every row and write the result files; ``done_at`` of the result is left to the caller."""
    rows = Rows(order.source, order.task_type, upload=SOURCE)
    try:
        answers = _answer_all(rows, order)
        plan = plan_result(len(rows), answers.failed, order.scenarios)
        files = [] if plan.status is not None else _write(plan, rows, answers, order)
    finally:
        rows.close()
    work = JobWork(
        done_at=0,
        tokens=answers.tokens,
        line_faults=plan.line_faults,
        batch_faults=plan.batch_faults,
        status=plan.status,
    )
    return work, files


def answer_row(row: Row, order: Order) -> tuple[str, int]:
    """Return the answer to one row and the tokens of both.

    :raises LineError: an image cannot be read, or the row does not fit the window.
    """
    images, prompt = row.images(), "\n".join(row.texts())
    try:
        measured = [measure(image) for image in images]
        sizes = [Size(each.width, each.height) for each in measured]
        asked = TEMPLATE_TOKENS[order.family] + text_tokens(prompt) + image_tokens(order.family, sizes)
    except (UnreadableImageError, UnfitImageError) as error:
        raise LineError(f"The image cannot be processed: {error}") from error
    if asked > order.window:
        raise LineError(
            f"The decoder prompt (length {asked}) is longer than the maximum model length of {order.window}"
        )
    room = order.window - asked if order.max_tokens is None else min(order.max_tokens, order.window - asked)
    text = cut(answer_about(measured[0] if measured else None, prompt), room)
    return text, asked + text_tokens(text)


def _answer_all(rows: Rows, order: Order) -> Answers:
    answers = Answers()
    for number in range(len(rows)):
        try:
            text, tokens = answer_row(rows[number], order)
        except LineError as error:
            answers.texts.append("")
            answers.failed[number] = str(error)
            continue
        answers.texts.append(text)
        answers.tokens += tokens
    return answers


def _write(plan: ResultPlan, rows: Rows, answers: Answers, order: Order) -> list[StoredFile]:
    echo = _Echo(order, len(rows))
    files = []
    for key, lines in _shares(plan):
        name = key if key.endswith(".parquet") else f"{key}.parquet"
        with RowWriter(order.target / name, order.result_type, key=key) as writer:
            for line in lines:
                row = rows[line.row] if line.row >= 0 else _foreign_row(-line.row, order.result_type)
                text = answers.texts[line.row] if line.row >= 0 else "An answer to another question."
                response = None if line.is_null else text if line.response is None else line.response
                request = echo.of(line.row, row)
                writer.add({"request": request, "response": response}, _size(request))
        assert writer.file is not None  # noqa: S101 - the writer was closed without an error
        files.append(writer.file)
    return files


def _shares(plan: ResultPlan) -> Iterator[tuple[str, Sequence[Line]]]:
    """Give the name and the lines of each file: one ``main``, or several that are numbered from 1."""
    if plan.files == 1:
        yield MAIN, plan.lines
        return
    for number in range(plan.files):
        start, end = (len(plan.lines) * (number + extra) // plan.files for extra in (0, 1))
        yield f"{number + 1}.parquet", plan.lines[start:end]


class _Echo:
    """Repeat requests in the result, with their images changed where a scenario asks for it."""

    def __init__(self, order: Order, rows: int) -> None:
        self._part = "null"
        self._encoded: set[int] = set()
        self._left_out: set[int] = set()
        if (params := order.scenarios.get("image_reencoded")) is not None:
            self._encoded = _rows_or_all(params, rows)
        if (params := order.scenarios.get("image_left_out")) is not None:
            self._left_out, self._part = _rows_or_all(params, rows), str(params.get("part", "null"))

    def of(self, number: int, row: Row) -> list[Message]:
        """Return the request as the result shows it."""
        if number not in self._encoded and number not in self._left_out:
            return row.request
        return [
            {**message, "content": self._content(number, message["content"])} if "content" in message else message
            for message in row.request
        ]

    def _content(self, number: int, content: list[dict[str, str]]) -> list[dict[str, str]]:
        if number in self._left_out and self._part == "removed":
            return [part for part in content if part["type"] != "image"]
        return [self._changed(number, part) if part["type"] == "image" else part for part in content]

    def _changed(self, number: int, part: dict[str, str]) -> dict[str, str]:
        if number in self._left_out:
            return {"type": "image"}
        return {"type": "image", "image": _reencoded(part["image"])}


def _rows_or_all(params: Mapping[str, Any], rows: int) -> set[int]:
    return chosen_rows(params, rows) if {"rows", "count"} & set(params) else set(range(rows))


def _reencoded(image: str) -> str:
    target = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(image))) as picture:
        picture.convert("RGB").save(target, "JPEG", quality=70)
    return base64.b64encode(target.getvalue()).decode()


def _foreign_row(number: int, result_type: str) -> Row:
    text = f"What is in picture {number} of another dataset?"
    if result_type != VL_ANSWER:
        return Row([{"role": "user", "text": text}])
    target = io.BytesIO()
    Image.new("RGB", (32, 32), (number * 40 % 256, 90, 160)).save(target, "PNG")
    image = base64.b64encode(target.getvalue()).decode()
    return Row([{"role": "user", "content": [{"type": "text", "text": text}, {"type": "image", "image": image}]}])


def _size(request: list[Message]) -> int:
    return sum(len(part.get("image", "")) for message in request for part in message.get("content", ())) + 1000
