"""Begin and end a run: plan, claim, publish."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from airflow.sdk import Asset, XComArg
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.run_params import RunParams, refuse_unknown
from vision_batch.errors import DeclarationError
from vision_batch.operators.base import EnrichmentOperator
from vision_batch.operators.places import UNCLAIMED, fill_places, keep_places
from vision_batch.steps.partitions import last_complete_partition, partition_of, partitions_between

#: States in which a run's publish does nothing more by itself.
PUBLISH_IS_OVER = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})


def run_partitions(declaration: Declaration, context: Context) -> list[str]:
    """Return the partitions a run is about: its params, else its data interval, else the last complete one.

    :raises DeclarationError: if the params make no range, or a backfill has some.
    """
    params = params_of(context)
    cut = {"timezone": declaration.timezone, "key_format": declaration.source.partition_format}
    first, last = params.partition_from or params.partition_to, params.partition_to or params.partition_from
    run = context.get("dag_run")
    if first and last:
        if getattr(run, "run_type", None) == "backfill":
            raise DeclarationError(
                "leave partition_from and partition_to out of a backfill, whose runs are about the partition of their "
                f"own date each; found {params.partition_from!r} and {params.partition_to!r}"
            )
        return partitions_between(first, last, cron=declaration.schedule, **cut)
    interval_start = context.get("data_interval_start")
    if interval_start is not None:
        return [partition_of(interval_start, **cut)]
    now = getattr(run, "run_after", None) or datetime.now(UTC)
    return [last_complete_partition(now, cron=declaration.schedule, **cut)]


def scheduled_start(declaration: Declaration, context: Context) -> datetime | None:
    """Return when the data interval of a run by schedule begins; ``None`` for runs that a person has started.

    Only runs by schedule follow each other without gaps, so that one of them can find out what a pause has left out.
    """
    run_type = getattr(context.get("dag_run"), "run_type", None)
    if declaration.schedule is None or run_type != "scheduled":
        return None
    return context.get("data_interval_start")


def folded(partitions: Sequence[str]) -> list[str]:
    """Return the ends of a range of partitions, which is all that the next task needs to know it.

    A year of hours would not fit into an XCom.
    """
    return list(dict.fromkeys([partitions[0], partitions[-1]]))


def unfolded(declaration: Declaration, found: Sequence[str]) -> list[str]:
    """Return the partitions of which :func:`folded` has made a range."""
    if len(found) == 1:
        return list(found)
    cut = {"timezone": declaration.timezone, "key_format": declaration.source.partition_format}
    return partitions_between(found[0], found[-1], cron=declaration.schedule, **cut)


def check_params(context: Context) -> None:
    """Refuse params that the DAG does not declare: Airflow hands them on as they are.

    :raises DeclarationError: names the nearest one that there is.
    """
    conf, dag = getattr(context.get("dag_run"), "conf", None), context.get("dag")
    if conf and dag is not None:
        refuse_unknown(conf, dag.params)


def params_of(context: Context) -> RunParams:
    """Return what a person chose for the run.

    :raises DeclarationError: if a param is wrong.
    """
    return RunParams.read(context.get("params") or {})


def skip_if_dry(context: Context) -> None:
    """Skip what comes after the plan in a run that only plans."""
    if params_of(context).dry_run:
        raise AirflowSkipException("This run only plans (dry_run): see the log of plan.")


class VisionBatchPlanOperator(EnrichmentOperator):
    """Find out what has to be asked and what that costs. Changes nothing but a plan file in the work folder.

    Fails if that is above the declared budget and nobody may approve it.

    :return: the plan's URI, counts and price.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan the run's partitions.

        :raises DeclarationError: if a param of the run is wrong.
        :raises BudgetExceededError: if the plan is above the budget, and the declaration says that it fails then.
        """
        from vision_batch.steps.budget import refuse  # noqa: PLC0415 - heavy
        from vision_batch.steps.plan import plan  # noqa: PLC0415 - heavy
        from vision_batch.steps.preview import lines  # noqa: PLC0415 - heavy

        check_params(context)
        params, partitions = params_of(context), run_partitions(self.declaration, context)
        resources = self.open_resources(context)
        summary = plan(
            resources,
            partitions,
            flush=params.flush,
            newest_first=params.newest_first,
            scheduled=scheduled_start(self.declaration, context),
        )
        for line in lines(summary):
            self.log.info("%s", line)
        if summary.budget is not None and not (self.declaration.budget.asks or params.dry_run):
            refuse(summary.budget, instead="Ask for fewer partitions, or declare more budget, or above: approve")
        return {**summary.as_dict(), "partitions": folded(partitions)}


class VisionBatchClaimOperator(EnrichmentOperator):
    """Claim what was planned, and adopt open shards that belong to the run or to nobody.

    :param plan: the output of the plan; templated.
    :param approval: the output of the approval, where the budget asks for one; templated.
    :return: the shards' keys, to map over; ``None`` where the run had a shard before, see ``operators.places``.
    """

    template_fields: Sequence[str] = ("plan", "approval")

    def __init__(
        self,
        *,
        declaration: Declaration,
        plan: dict[str, Any] | XComArg,
        approval: XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(declaration=declaration, **kwargs)
        self.plan: Any = plan
        self.approval: Any = approval

    def execute(self, context: Context) -> list[str | None]:
        """Claim."""
        from vision_batch.steps.claim import claim  # noqa: PLC0415 - heavy

        places = keep_places(context)
        skip_if_dry(context)
        # The connection has the price of a unit, in which a budget may be declared.
        resources = self.open_resources(context, with_service=self.declaration.budget.is_set)
        run_id = str(context["run_id"])
        approved = self.approval is not None
        partitions = unfolded(self.declaration, self.plan["partitions"])
        claimed = claim(resources, self.plan["uri"], partitions, run_id, approved=approved)
        return fill_places(context, claimed.shards, places)


class VisionBatchPublishOperator(EnrichmentOperator):
    """Count the run's rows and announce the partitions that are complete. Fails if a shard of the run is not over.

    Two assets get an event when a partition becomes complete, and only then: the table, with the counts in ``extra``,
    and ``<table>/partitions``, with the partitions as keys.

    :param plan: the output of the plan; templated.
    :param shards: the shards' keys; templated. Where they are the output of a task, that has to have succeeded.
    :return: rows by partition and status, what waits, what was announced.
    """

    template_fields: Sequence[str] = ("plan", "shards")

    def __init__(
        self, *, declaration: Declaration, plan: dict[str, Any] | XComArg, shards: list[str] | XComArg, **kwargs: Any
    ) -> None:
        kwargs.setdefault("outlets", [table_asset(declaration), partitions_asset(declaration)])
        kwargs.setdefault("trigger_rule", "all_done")
        super().__init__(declaration=declaration, **kwargs)
        self.plan: Any = plan
        self.shards: Any = shards
        self._claims = [task.task_id for task, _ in XComArg.iter_xcom_references(shards)]

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish."""
        from vision_batch.errors import FinalError  # noqa: PLC0415 - beside its use
        from vision_batch.steps.publish import publish  # noqa: PLC0415 - heavy

        skip_if_dry(context)
        if self.plan is None or self.shards is None or not self._has_claimed(context):
            raise FinalError("the plan or the claim of this run failed: see their logs")
        resources = self.open_resources(context, with_service=False)
        run_id, told = str(context["run_id"]), partial(self._have_announced, context)
        partitions_asked = unfolded(self.declaration, self.plan["partitions"])
        published = publish(resources, partitions_asked, [key for key in self.shards if key], run_id, told)
        table, partitions = table_asset(self.declaration), partitions_asset(self.declaration)
        if published.announced:
            context["outlet_events"][table].extra.update(published.event())
            context["outlet_events"][partitions].extra.update(published.event())
            context["outlet_events"][partitions].add_partitions(list(published.announced))
        else:  # every outlet of a task that succeeds gets an event
            self.outlets = [outlet for outlet in self.outlets if outlet not in (table, partitions)]
        return published.as_dict()

    def _has_claimed(self, context: Context) -> bool:
        """Tell whether the claim has succeeded in this try of the run.

        Its output alone does not tell: of one that was not reached, it is what an earlier try of the run had claimed.
        """
        if UNCLAIMED in self.shards:
            return False
        if not self._claims:
            return True
        run_id = str(context["run_id"])
        states = context["ti"].get_task_states(self.dag_id, task_ids=self._claims, run_ids=[run_id]).get(run_id, {})
        return all(states.get(task_id) == "success" for task_id in self._claims)

    def _have_announced(self, context: Context, run_ids: Collection[str]) -> dict[str, bool]:
        """Return which runs' publish has succeeded, and which has failed; a run that was deleted counts as told."""
        states = context["ti"].get_task_states(self.dag_id, task_ids=[self.task_id], run_ids=list(run_ids))
        found = {run_id: states.get(run_id, {}).get(self.task_id, "success") for run_id in run_ids}
        return {run_id: state == "success" for run_id, state in found.items() if state in PUBLISH_IS_OVER}


def table_asset(declaration: Declaration) -> Asset:
    """Return the asset that stands for the destination table."""
    # A URI of its own would make Airflow import every provider that knows URIs, while it parses DAG files.
    return Asset(declaration.destination.table)


def partitions_asset(declaration: Declaration) -> Asset:
    """Return the asset whose events have the destination table's partitions as keys."""
    return Asset(f"{declaration.destination.table}/partitions")
