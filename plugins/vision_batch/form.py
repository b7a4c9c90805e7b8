"""Make the form of a run: what a person may choose when triggering, backfilling or calling the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import Param

from vision_batch.enrichment.declaration import MOST_SHARDS_PER_RUN, Declaration

#: Sections that are folded; the fields without one stand open above them.
AGAIN = "Ask again"
LIMITS = "Limits of this run"

#: The partition format that a date picker writes.
DATE = "%Y-%m-%d"

#: Shown where a person types a partition's key.
_EXAMPLE = datetime(2026, 11, 22)  # noqa: DTZ001 - a clock on the wall


def run_form(declaration: Declaration) -> dict[str, Param]:
    """Return the params of an enrichment's DAG, in the order in which the form shows them."""
    return {
        "partition_from": _partition(
            declaration, "First partition", "Empty, as in a backfill: the run's own, or the newest that is complete."
        ),
        "partition_to": _partition(declaration, "Last partition", "Included. Empty: the first one only."),
        "model": _model(declaration),
        "dry_run": Param(
            default=False,
            type="boolean",
            title="Only plan",
            description_md="Stop after the plan, whose log and XCom say what would be asked and what that would cost.",
        ),
        "revision": Param(
            declaration.revision,
            type="integer",
            minimum=1,
            title="Revision",
            description_md="Raise it to ask the same question again where it is answered already. Answers of another "
            "revision stand beside the declared one's, as with another model. Costs the full price.",
            section=AGAIN,
        ),
        "max_shards": Param(
            declaration.limits.max_shards_per_run,
            type="integer",
            minimum=1,
            maximum=MOST_SHARDS_PER_RUN,
            title="Jobs at most",
            description_md="Images beyond that are left to the next run. The service takes 10 jobs an hour and 100 "
            "a day.",
            section=LIMITS,
        ),
        "flush": Param(
            default=False,
            type="boolean",
            title="Let nothing wait",
            description_md="Send small days now, though a job costs at least 200 000 tokens.",
            section=LIMITS,
        ),
        "newest_first": Param(
            default=False,
            type="boolean",
            title="Newest days first",
            description_md="Which days come first where *Jobs at most* leaves some to the next run.",
            section=LIMITS,
        ),
    }


def _partition(declaration: Declaration, title: str, words: str) -> Param:
    key_format = declaration.source.partition_format
    if key_format == DATE:
        return _choice(type=["null", "string"], format="date", title=title, description_md=words)
    words = f"A key such as {_EXAMPLE.strftime(key_format)}. {words}"
    return _choice(type=["null", "string"], title=title, description_md=words)


def _model(declaration: Declaration) -> Param:
    models = {**declaration.models(), declaration.model: declaration.asked_model()}
    labels = {
        model.id: f"{model.name} · window {model.window_tokens} tokens · price ×{model.price_coefficient}"
        for model in models.values()
    }
    return Param(
        declaration.model,
        type="string",
        enum=list(dict.fromkeys([declaration.model, *models])),
        values_display=labels,
        title="Model",
        description_md="Another model is another question: its answers stand beside the declared one's in the table, "
        "and stay out of its view.",
    )


def _choice(**schema: Any) -> Param:
    return Param(None, **schema)
