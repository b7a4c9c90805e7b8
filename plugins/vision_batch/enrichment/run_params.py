"""Read what a person chose for one run, and apply it to a declaration. Pure; knows no Airflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision_batch.enrichment.declaration import MOST_SHARDS_PER_RUN, Declaration, allowed_names, with_overrides
from vision_batch.errors import DeclarationError, UnknownModelError

#: What each param may be, in words.
ALLOWED = {
    "model": "a model's id, such as 'gemma-3-12b-it', or null for the declared one",
    "revision": "a whole number, at least 1, or null for the declared one",
    "partition_from": "a partition's key as text, or null",
    "partition_to": "a partition's key as text, or null",
    "max_shards": f"a whole number from 1 to {MOST_SHARDS_PER_RUN}, or null for the declared one",
    "flush": "true or false",
    "newest_first": "true or false",
    "dry_run": "true or false",
}


#: How names begin that Airflow itself reads from a run's conf.
AIRFLOWS_OWN = "airflow/"


class RunParams(BaseModel):
    """Hold what one run may have otherwise than its declaration says; ``None`` is as declared.

    :param model: another model is another question.
    :param revision: another revision is another question with the same words.
    :param partition_from: first partition; with ``partition_to`` instead of the run's own partition.
    :param partition_to: last partition.
    :param max_shards: ``limits.max_shards_per_run`` of this run.
    :param flush: let nothing wait.
    :param newest_first: ask the last partitions first, where one run cannot send all.
    :param dry_run: stop after the plan.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    model: str | None = None
    revision: int | None = Field(None, ge=1)
    partition_from: str | None = None
    partition_to: str | None = None
    max_shards: int | None = Field(None, ge=1, le=MOST_SHARDS_PER_RUN)
    flush: bool = False
    newest_first: bool = False
    dry_run: bool = False

    @classmethod
    def read(cls, params: Mapping[str, Any]) -> Self:
        """Return the params of a run; others than these are not looked at.

        :raises DeclarationError: names each wrong param, what was found and what is allowed.
        """
        try:
            return cls.model_validate(dict(params))
        except ValidationError as error:
            wrong = {str(detail["loc"][0]): detail["input"] for detail in error.errors(include_url=False)}
            raise DeclarationError(
                "\n".join(f"param {name!r}: found {found!r}; allowed: {ALLOWED[name]}" for name, found in wrong.items())
            ) from None

    def asked(self, declaration: Declaration) -> Declaration:
        """Return the declaration as this run asks it.

        :raises DeclarationError: if there is no such model.
        """
        try:
            asked = with_overrides(declaration, model=self.model, revision=self.revision)
        except UnknownModelError as error:
            known = ", ".join(sorted(declaration.models()))
            raise DeclarationError(f"param 'model': {error} Allowed: {known}") from None
        if self.max_shards is None:
            return asked
        limits = asked.limits.model_copy(update={"max_shards_per_run": self.max_shards})
        return asked.model_copy(update={"limits": limits})


def refuse_unknown(given: Iterable[str], declared: Iterable[str]) -> None:
    """Refuse params that a DAG does not have: Airflow passes them on, and a slip of the pen would ask other days.

    :raises DeclarationError: names the first one, the nearest that there is, and all of them.
    """
    known = list(declared)
    for name in given:
        if name not in known and not name.startswith(AIRFLOWS_OWN):
            raise DeclarationError(f"there is no param {name!r}; {allowed_names(known, name)}")
