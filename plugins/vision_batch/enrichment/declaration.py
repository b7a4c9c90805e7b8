"""Read a declaration: a YAML file that says which images, which question, which table, how often."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, croniter
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from vision_batch.enrichment.answer import AnswerSchema
from vision_batch.enrichment.destination import SYSTEM_COLUMNS, Destination
from vision_batch.enrichment.places import Part, Source, storage_uri
from vision_batch.enrichment.question import Question, placeholders
from vision_batch.enrichment.terms import Alerts, Budget, Gate, Pack, Repair
from vision_batch.errors import InputError
from vision_batch.models import LARGEST_WINDOW_TOKENS, LEAST_WINDOW_TOKENS, MODELS, Model, added_model, get_model

#: The service's documented limit for one dataset, with room for what Parquet adds to JSON Lines.
MAX_DATASET_BYTES = 4_500_000_000

#: The service takes 100 jobs a day.
MOST_SHARDS_PER_RUN = 100

#: What Airflow's database has room for.
LONGEST_TAG = 100

#: A paid call has a deadline of half of this; a job that shows up later than a shorter one would be paid for twice.
SHORTEST_SETTLE = timedelta(seconds=120)


class Options(Part):
    """Set how the model answers.

    :param max_tokens: room for the answer; it is taken from the window, and an answer that is longer is cut.
    """

    temperature: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    max_tokens: int = Field(300, gt=0, le=4000)


class Limits(Part):
    """Bound a run.

    :param settle: how long a submitted job may stay invisible in the service's lists.
    :param max_jobs_per_shard: how many jobs of one shard may fail before it is given up.
    :param salvage: whether rows of a FAILED job that names a result are read, instead of asking all of it again.
    :param max_attempts: how many times one item is asked one question.
    :param max_prepared_shards: how many shards may have a dataset and no job yet, of all enrichments together. Each
        keeps two of the service's 100 datasets; 40 leave some for everybody else.
    """

    max_shards_per_run: int = Field(8, ge=1, le=MOST_SHARDS_PER_RUN)
    max_rows_per_shard: int = Field(20_000, ge=1)
    max_bytes_per_shard: int = Field(MAX_DATASET_BYTES, ge=1_000_000, le=MAX_DATASET_BYTES)
    max_attempts: int = Field(3, ge=1)
    max_jobs_per_shard: int = Field(2, ge=1, le=10)
    max_active_runs: int = Field(4, ge=1)
    max_prepared_shards: int = Field(8, ge=1, le=40)
    poll_interval_seconds: float = Field(30.0, gt=0, le=3600, allow_inf_nan=False)
    salvage: bool = False
    settle: timedelta = Field(SHORTEST_SETTLE, gt=timedelta(0))
    adopt_after: timedelta = Field(timedelta(hours=6), gt=timedelta(0))


@cache
def _timezones() -> frozenset[str]:
    """Return the machine's timezones; finding them takes longer than reading a declaration."""
    return frozenset(available_timezones())


#: Shorter names of timezones are abbreviations.
SHORTEST_CITY = 4


def _nearest_timezone(name: str) -> str:
    """Say which one may be meant, by its city; short names such as MST and EST are not what they look like."""
    zones = [zone for zone in sorted(_timezones(), reverse=True) if "/" in zone and not zone.startswith("Etc/")]
    cities = {zone.rpartition("/")[2].casefold(): zone for zone in zones}
    city = name.rpartition("/")[2].casefold()
    near = difflib.get_close_matches(city, cities, n=2, cutoff=0.75) if len(city) >= SHORTEST_CITY else []
    if not near:
        return "write an area with a city, such as Europe/Moscow, or UTC"
    return f"did you mean {' or '.join(cities[city] for city in near)}?"


def _is_schedule(cron: str) -> bool:
    """Say whether a cron has five fields or a name such as ``@daily``, comes to pass, and always at the same times."""
    if not croniter.is_valid(cron) or (len(cron.split()) != 5 and not cron.startswith("@")):  # noqa: PLR2004
        return False
    try:
        croniter(cron, datetime(2026, 11, 1)).get_next(datetime)  # noqa: DTZ001
    except CroniterBadDateError:
        return False
    return not re.search(r"\bR\b", cron, re.IGNORECASE)


def _known_model(found: Any, info: ValidationInfo) -> Any:
    if isinstance(found, str):
        try:
            known = get_model(found, known=_with_added(info.data.get("added_models", {}))).id
        except InputError as error:
            raise ValueError(str(error)) from None
        if known != found:
            raise ValueError(f"{found!r} is more than a model's id; write {known}, and the branch under 'branch'")
    return found


def _with_added(models: Mapping[str, Any]) -> dict[str, Model]:
    return {**MODELS, **{model_id: added_model(model_id, found) for model_id, found in models.items()}}


class Declaration(Part):
    """Hold one enrichment, complete: the prompt's text is read, locations are absolute, defaults are filled in.

    :param added_models: what ``include/models.yaml`` says, so that a claimed shard knows its model for ever.
    :param model: a model's id.
    :param window_tokens: the model's window, where it is not the table's; see
        :data:`vision_batch.models.WIDER_WINDOW_TOKENS`.
    :param branch: ``latest``, ``rc`` or ``deprecated``.
    :param timezone: in which partitions are cut and named.
    :param lookback: how many days before a run's partitions are looked at again, for files that came late.
    :param revision: raise it to ask everything again without changing the question.
    :param preprocessing: version of the image preparation; pinned, so that upgrades never ask again.
    :param marker: whether each prompt ends with a short marker by which its answer is found.
    :param own: whether this is the declared question, not one overridden in a run.
    """

    name: str
    description: str = ""
    owner: str = Field("airflow", min_length=1)
    tags: tuple[Annotated[str, Field(min_length=1, max_length=LONGEST_TAG)], ...] = ()
    connection: str = "ai_studio_default"
    added_models: dict[str, Any] = Field({})
    model: Annotated[str, BeforeValidator(_known_model)]
    window_tokens: int | None = Field(None, ge=LEAST_WINDOW_TOKENS, le=LARGEST_WINDOW_TOKENS)
    branch: Literal["latest", "rc", "deprecated"] = "latest"
    schedule: str | None = "0 0 * * *"
    timezone: str = "UTC"
    start_date: date = Field(date(2020, 1, 1), ge=date(1970, 1, 1), le=date(2100, 1, 1))
    lookback: int = Field(0, ge=0, le=366)
    work_folder: str
    source: Source
    prompt: str = Field(min_length=1)
    language: Literal["ru", "en"] = "en"
    answer: AnswerSchema
    destination: Destination
    options: Options = Options()
    pack: Pack = Pack()
    gate: Gate = Gate()
    alerts: Alerts = Alerts()
    budget: Budget = Budget()
    repair: Repair = Repair()
    limits: Limits = Limits()
    revision: int = Field(1, ge=1)
    preprocessing: Literal[1] = 1
    marker: bool = True
    own: bool = True

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
            raise ValueError(
                f"{name!r} is not a name; allowed: a lower-case letter, then at most 31 lower-case letters, digits or -"
            )
        return name

    @field_validator("work_folder")
    @classmethod
    def _is_storage(cls, uri: str) -> str:
        return storage_uri(uri)

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, cron: str | None) -> str | None:
        if cron is not None and not _is_schedule(cron):
            meant = f"did you mean '@{cron}'? " if _is_schedule(f"@{cron}") else ""
            raise ValueError(
                f"{cron!r} is not a cron expression; {meant}write it like '0 0 * * *', or null for no schedule"
            )
        return cron

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, name: str) -> str:
        if name not in _timezones():
            raise ValueError(f"{name!r} is not a timezone; {_nearest_timezone(name)}")
        return name

    @field_validator("prompt")
    @classmethod
    def _uses_its_variables(cls, prompt: str, info: ValidationInfo) -> str:
        source = info.data.get("source")
        if source is None:  # wrong itself, and told
            return prompt
        used, declared = placeholders(prompt), set(source.variables)
        unknown, unused = (
            ", ".join(f"{{{name}}}" for name in sorted(names)) for names in (used - declared, declared - used)
        )
        if unknown and not declared:
            raise ValueError(f"the prompt holds {unknown}, but items have no variables: write it without the braces")
        if unknown:
            raise ValueError(
                f"the prompt holds {unknown}, which source.variables does not declare; "
                f"allowed: {', '.join(sorted(declared))}; write it without the braces if it is no variable"
            )
        if unused:
            raise ValueError(f"the prompt does not use {unused} of source.variables; write it there, or take it out")
        return prompt

    @field_validator("destination")
    @classmethod
    def _can_name_the_columns(cls, destination: Destination, info: ValidationInfo) -> Destination:
        answer = info.data.get("answer")
        names = () if answer is None else tuple(column.name for column in answer.columns())
        if taken := SYSTEM_COLUMNS.get(destination.type, frozenset()).intersection(names):
            raise ValueError(
                f"every table in {destination.type} has a column {min(taken)!r} of its own, and so has the answer; "
                "give that field another name"
            )
        return destination

    @property
    def start(self) -> datetime:
        """Return the first moment that the schedule covers."""
        return datetime.combine(self.start_date, datetime.min.time(), ZoneInfo(self.timezone)).astimezone(UTC)

    def places(self) -> tuple[str, ...]:
        """Return every place in storage that it names."""
        lists = () if self.source.manifest is None else (self.source.manifest,)
        staging = () if self.destination.staging is None else (self.destination.staging,)
        return (self.work_folder, *lists, *staging, *self.source.prefixes())

    def is_on_s3(self) -> bool:
        """Say whether any of these places is in object storage."""
        return any(place.startswith("s3://") for place in self.places())

    @property
    def storage_connection(self) -> str:
        """Return the connection of object storage."""
        return self.source.connection or "aws_default"

    def models(self) -> Mapping[str, Model]:
        """Return every model that can be asked: the eight and those that settings add."""
        return _with_added(self.added_models)

    def asked_model(self, windows: Mapping[str, int] | None = None) -> Model:
        """Return the model with its window: the declaration's, else the one in ``windows``, else the table's."""
        model = get_model(self.model, known=self.models())
        window = self.window_tokens or (windows or {}).get(model.id)
        return model if window is None else replace(model, window_tokens=window)

    def question(self) -> Question:
        """Return the question that is asked."""
        options = self.options.model_dump(mode="json")
        if self.window_tokens is not None:  # absent where nothing is overridden: keys of old questions stay
            options["window_tokens"] = self.window_tokens
        return Question(
            prompt=self.prompt,
            schema=self.answer,
            language=self.language,
            model=f"{self.model}/{self.branch}",
            options=options,
            preprocessing=self.preprocessing,
            revision=self.revision,
        )

    def question_key(self) -> str:
        """Return the identity of the question."""
        return self.question().key


def with_overrides(declaration: Declaration, *, model: str | None = None, revision: int | None = None) -> Declaration:
    """Return the declaration with another model, in its own window, or another revision: not the declared question.

    :raises UnknownModelError: if there is no such model.
    """
    changes: dict[str, Any] = {}
    if model is not None and (known := get_model(model, known=declaration.models()).id) != declaration.model:
        changes |= {"model": known, "window_tokens": None}
    if revision not in (None, declaration.revision):
        changes["revision"] = revision
    return declaration.model_copy(update={**changes, "own": False}) if changes else declaration


def allowed_names(found: Sequence[str], wrong: str) -> str:
    """Say which names are allowed, the nearest first."""
    near = difflib.get_close_matches(wrong, found, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"allowed: {', '.join(sorted(found)) or 'none'}"
