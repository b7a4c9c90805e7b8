"""Tell people that a run failed or is late, by Airflow's own notifiers and deadlines."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.terms import Alerts, Notifier
from vision_batch.errors import DeclarationError

log = logging.getLogger(__name__)


def notifiers_of(alerts: Alerts) -> list[BaseNotifier]:
    """Make the declared notifiers, for a task's ``on_failure_callback``.

    :raises DeclarationError: if one is no notifier, is not installed, or does not take its options.
    """
    return [_made(f"alerts.notifiers.{number}", notifier) for number, notifier in enumerate(alerts.notifiers)]


def deadline_of(declaration: Declaration) -> DeadlineAlert | None:
    """Return the deadline of a run, if one is declared."""
    alerts = declaration.alerts
    if alerts.late_after is None:
        return None
    told = [notifier.model_dump(mode="json") for notifier in alerts.notifiers]
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=alerts.late_after,
        # By its path: Airflow finds it again on whatever machine runs it.
        callback=SyncCallback(f"{__name__}.{tell_late.__name__}", {"after": str(alerts.late_after), "notifiers": told}),
        name="late",
    )


def tell_late(context: Mapping[str, Any], after: str, notifiers: Sequence[Mapping[str, Any]]) -> None:
    """Say that a run is late, in the log and by the notifiers. Runs on a worker when the deadline has passed.

    :param context: what Airflow 3.3 gives with a deadline: ``dag_run`` as its API shows it. ``run_id`` and
        ``exception`` are added, so that a notifier's templates read the same as on a failure.
    :param after: how long after it was queued.
    """
    run_id = context["dag_run"]["dag_run_id"]
    message = (
        f"The run {run_id} of {context['dag_run']['dag_id']} has not ended {after} after it was queued. Jobs of the "
        "service may take a day; the task that waits says in its log how far its job is."
    )
    log.error(message)
    for number, notifier in enumerate(notifiers):
        _made(f"alerts.notifiers.{number}", Notifier.model_validate(notifier))(
            {**context, "run_id": run_id, "exception": message}
        )


def _made(field: str, notifier: Notifier) -> BaseNotifier:
    module, _, name = notifier.type.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DeclarationError(
            f"field '{field}.type': {notifier.type} cannot be imported ({error}); install the provider that has it"
        ) from None
    if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
        raise DeclarationError(
            f"field '{field}.type': {notifier.type} is no notifier; allowed: a subclass of airflow.sdk.BaseNotifier, "
            "such as airflow.providers.smtp.notifications.smtp.SmtpNotifier"
        )
    try:
        return found(**notifier.options)
    except TypeError as error:
        raise DeclarationError(f"field '{field}.options': {error}") from None
