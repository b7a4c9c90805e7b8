"""Describe an enrichment in Markdown, for its DAG's page. Pure: everything is in the declaration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from vision_batch.enrichment.answer import AnswerColumn, allowed_words
from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.markdown import bullets, plain, quoted, table
from vision_batch.enrichment.plan import Tokens
from vision_batch.errors import ImageRejected
from vision_batch.images.budget import (
    Budget,
    fit,
    image_tokens,
    prompt_tokens,
    text_tokens_lower_bound,
    text_tokens_upper_bound,
)
from vision_batch.models import MINIMUM_JOB_TOKENS, Model

#: The picture that stands for all when the page speaks of prices: 1280 x 960 pixels.
EXAMPLE_PICTURE = (1280, 960)

#: As long as the line with the marker.
_MARKER = "[ref: 00000000]"


def page_of(declaration: Declaration) -> str:
    """Return the page of an enrichment's DAG."""
    sections = {
        "": declaration.description,
        "What it does": table(("", ""), _facts(declaration)),
        "The question": f"{quoted(declaration.prompt)}\n\nA text that asks for the columns follows it.",
        "The columns": table(("column", "type", "meaning"), map(_column, declaration.answer.columns())),
        "What it costs": bullets(_costs(declaration)),
        "How to run it": bullets(_ways(declaration)),
    }
    return "\n\n".join(f"## {title}\n\n{text}" if title else text for title, text in sections.items() if text) + "\n"


def broken_page(file: str, mistakes: str) -> str:
    """Return the page of a DAG that stands for a declaration that cannot be read.

    :param mistakes: one on each line.
    """
    return (
        f"## This enrichment cannot run\n\n`{file}` has to be changed first:\n\n"
        f"{bullets(map(plain, mistakes.splitlines()))}\n\n`vision-batch check` tells the same without Airflow, and "
        "the page goes away by itself once the file is right. Other enrichments are not harmed.\n"
    )


def _facts(declaration: Declaration) -> Iterator[tuple[str, str]]:
    source, destination = declaration.source, declaration.destination
    yield "Images", f"`{source}`"
    if source.variables:
        yield "Prompt variables", ", ".join(f"`{{{name}}}`" for name in source.variables)
    cut = "by hand only; a partition is a day" if declaration.schedule is None else f"`{declaration.schedule}`"
    yield "Schedule", f"{cut}, clock of {declaration.timezone}"
    model = declaration.asked_model()
    yield (
        "Model",
        (
            f"{model.name} (`{declaration.model}/{declaration.branch}`), window {model.window_tokens} tokens, answers "
            f"of at most {declaration.options.max_tokens}"
        ),
    )
    where = destination.path or f"connection `{destination.connection}`"
    yield "Answers", f"table `{destination.table}`, one row for each image, and `{destination.table}_current` ({where})"
    limits = declaration.limits
    yield "One run", f"at most {limits.max_shards_per_run} jobs of at most {_number(limits.max_rows_per_shard)} images"
    yield from _agreed(declaration)
    yield "Revision", str(declaration.revision)


def _agreed(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Yield what is declared about waiting, money and quality; nothing of it has to be."""
    pack, budget, repair, gate = declaration.pack, declaration.budget, declaration.repair, declaration.gate
    if pack.min_tokens:
        yield "Small days", f"wait until a job has {_number(pack.min_tokens)} tokens, at most {_time(pack.max_wait)}"
    if repair.deadline is not None:
        yield "Without an answer", f"asked again within {_time(repair.deadline)}, by a job of their own if need be"
    if budget.is_set:
        bounds = {"a run": budget.per_run, "a month": budget.per_month}
        told = ", ".join(f"{bound:g} {budget.measure} {of}" for of, bound in bounds.items() if bound is not None)
        yield "Budget", f"{told}; above it a run {'waits for approval' if budget.asks else 'fails'}"
    if gate.min_answered is not None or gate.max_invalid is not None:
        parts = [
            *([f"at least {gate.min_answered:.0%} answered"] if gate.min_answered is not None else []),
            *([f"at most {gate.max_invalid:.0%} invalid"] if gate.max_invalid is not None else []),
        ]
        yield "Announced only with", ", ".join(parts)


def _column(column: AnswerColumn) -> tuple[str, str, str]:
    field = column.field
    held = ", ".join(each.name for each in field.fields)
    words = [" ".join(field.description.split()), *allowed_words(field, "en"), *["required"] * field.required]
    words += [f"with {held}"] if held else []
    return f"`{column.name}`", field.column_type, "; ".join(words)


def _costs(declaration: Declaration) -> Iterator[str]:
    model = declaration.asked_model()
    tokens = _tokens_of_a_picture(declaration, model)
    if tokens is not None:
        most, least = tokens
        width, height = EXAMPLE_PICTURE
        yield (
            f"A picture of {width} × {height} costs at most {_number(most)} tokens, prompt and longest answer "
            f"included: {_units(model, 1000 * most)} units for a thousand of them."
        )
        yield (
            f"A job is charged for {_number(MINIMUM_JOB_TOKENS)} tokens at least, {_units(model, MINIMUM_JOB_TOKENS)} "
            f"units: {_number(-(-MINIMUM_JOB_TOKENS // least))} such pictures are certain to fill it."
        )
    coefficient = f"{model.price_coefficient.normalize():f}"
    yield f"A unit is 1000 tokens at coefficient 1. {model.name} has coefficient {coefficient}."
    yield f"Before anything is paid, `vision-batch plan {declaration.name} --from KEY --to KEY` tells a range's price."


def _tokens_of_a_picture(declaration: Declaration, model: Model) -> Tokens | None:
    text = declaration.question().render({}, _MARKER)
    budget = Budget(model.window_tokens, declaration.options.max_tokens, text_tokens_upper_bound(text)).image_tokens
    try:
        size = fit(model, *EXAMPLE_PICTURE, budget)
    except ImageRejected:
        return None
    least = text_tokens_lower_bound(text) + image_tokens(model, *size)
    return Tokens(model.window_tokens - budget + prompt_tokens(model, *size), least)


def _ways(declaration: Declaration) -> Iterator[str]:
    yield (
        "**Trigger** it for a range of partitions, another model or another revision: the form explains each field. "
        "Without a range a run is about the newest complete partition."
    )
    if declaration.schedule is not None:
        yield (
            f"**Backfill** history: `airflow backfill create --dag-id {declaration.name} --from-date 2026-01-01 "
            "--to-date 2026-01-31`, or the form. `--run-backwards` begins with the newest day; `--reprocess-behavior "
            "completed` runs days again that have run before, which asks only what is missing."
        )
    yield "What is answered is not asked again, whoever asks: running a day twice is free."


def _units(model: Model, tokens: int) -> str:
    return f"{(model.price_coefficient * tokens / 1000).normalize():,f}".replace(",", " ")


def _number(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _time(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"  # noqa: PLR2004
