"""Whom a declaration tells, and the words for a notifier that is none."""

import logging
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import BaseNotifier

from vision_batch.alerts import notifiers_of, tell_late
from vision_batch.dag import build_dags
from vision_batch.enrichment.terms import Alerts

TOLD = []
SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"


class Told(BaseNotifier):
    template_fields = ("words",)

    def __init__(self, words: str):
        super().__init__()
        self.words = words

    def notify(self, context):
        TOLD.append((self.words, str(context["exception"])))


@pytest.fixture
def dag(tmp_path, project):
    def build(alerts):
        include = Path(shutil.copytree(project / "include", tmp_path / "include"))
        path = include / "enrichments" / "photo_quality.yaml"
        path.write_text(f"{path.read_text()}\nalerts: {alerts}\n")
        return build_dags(include, environ={})["photo-quality"]

    return build


def test_without_alerts_nobody_is_told(dag):
    made = dag("{}")
    assert not made.deadline
    assert not made.get_task("publish").on_failure_callback


def test_a_run_has_the_declared_deadline_and_publish_tells_of_failures(dag):
    made = dag(f"{{late_after: PT36H, notifiers: [{{type: {SMTP}, options: {{to: data@example.com}}}}]}}")
    [deadline] = made.deadline
    assert deadline.interval == timedelta(hours=36)
    assert deadline.callback.path == "vision_batch.alerts.tell_late"
    [told] = made.get_task("publish").on_failure_callback
    assert told.to == "data@example.com"


@pytest.mark.parametrize(
    ("notifier", "words"),
    [
        ({"type": "no.such.Notifier"}, "field 'alerts.notifiers.0.type': no.such.Notifier cannot be imported"),
        ({"type": "datetime.datetime"}, "datetime.datetime is no notifier; allowed: a subclass of"),
        ({"type": SMTP, "options": {"from_email": "x"}}, "field 'alerts.notifiers.0.options': .*'to'"),
    ],
)
def test_what_is_wrong_with_a_notifier_is_said_by_the_broken_dag(dag, notifier, words):
    made = dag({"notifiers": [notifier]})
    assert "broken" in made.tags
    with pytest.raises(Exception, match=words):
        notifiers_of(Alerts.model_validate({"notifiers": [notifier]}))


def test_who_is_late_is_said_in_the_log_and_by_each_notifier(caplog):
    TOLD.clear()
    context = {"dag_run": {"dag_id": "photos", "dag_run_id": "manual__1"}}
    notifier = {"type": f"{__name__}.Told", "options": {"words": "{{ run_id }}"}}
    with caplog.at_level(logging.ERROR):
        tell_late(context, "1 day, 12:00:00", [notifier])
    assert "The run manual__1 of photos has not ended 1 day, 12:00:00 after it was queued" in caplog.text
    [(words, message)] = TOLD
    assert words == "manual__1"
    assert message in caplog.text
