"""Ask a person before a run costs more than its enrichment's budget."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import XComArg
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException

from vision_batch.alerts import notifiers_of
from vision_batch.enrichment.declaration import Declaration
from vision_batch.operators.base import task_page
from vision_batch.operators.run import params_of


class VisionBatchApproveOperator(ApprovalOperator):
    """Wait until a person approves a plan that is above the budget; let any other pass at once.

    Nothing is claimed before, so a plan that is rejected, or not approved in time, leaves nothing behind: its images
    are free for other runs, and the rest of this run is skipped, or fails if nobody answered.

    :param plan: the output of the plan; templated.
    :return: who approved what, or ``None`` if nobody had to.
    """

    template_fields: Collection[str] = (*ApprovalOperator.template_fields, "plan")

    def __init__(self, *, declaration: Declaration, plan: dict[str, Any] | XComArg, **kwargs: Any) -> None:
        kwargs.setdefault("retries", 5)
        kwargs.setdefault("retry_delay", timedelta(seconds=30))
        kwargs.setdefault("doc_md", task_page(type(self)))
        super().__init__(
            subject=f"{declaration.name}: a run is above its budget",
            response_timeout=declaration.budget.approve_within,
            # Also publish, which would otherwise say that the claim has failed.
            ignore_downstream_trigger_rules=True,
            **kwargs,
        )
        self.plan: Any = plan
        self._told = notifiers_of(declaration.alerts)

    def execute(self, context: Context) -> Any:
        """Ask, if there is something to be asked."""
        budget: Mapping[str, Any] | None = self.plan["budget"]
        if budget is None or not budget["above"]:
            self.log.info("The plan is within its budget.")
            return None
        if params_of(context).dry_run:
            return None
        self.body = approval_text(self.plan)
        for notifier in self._told:
            # Under the name by which they show what is wrong with a run that failed.
            notifier({**context, "exception": f"{self.subject}\n\n{self.body}"})
        return super().execute(context)

    def process_trigger_event_error(self, event: dict[str, Any]) -> None:
        """Fail for good if nobody has answered."""
        if event["error_type"] == "timeout":
            raise AirflowFailException(
                f"Nobody has approved the plan within {self.response_timeout}. Nothing was claimed or paid, and its "
                "images are free for other runs. Clear the task plan to plan them anew and ask again"
            )
        super().process_trigger_event_error(event)


def approval_text(plan: Mapping[str, Any]) -> str:
    """Return what a person has to know to decide, in Markdown."""
    price, budget = plan["price"], plan["budget"]
    money = "" if price["money"] is None else f", {price['money']} at the connection's unit price"
    days = plan["partitions"]
    over = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    asked = (
        f"Partitions {over}: {plan['planned']} images in {price['jobs']} jobs of {price['model']}, at most "
        f"{price['tokens']:,} tokens, billed {price['billed_tokens']:,}: {price['units']} units{money}."
    )
    choice = "**Approve**: just this plan runs, without what is answered meanwhile. **Reject**: nothing of it runs."
    return "\n".join([*(f"- {bound}" for bound in budget["above"]), "", asked, "", choice])
