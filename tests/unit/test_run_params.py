"""What a person chooses for one run: read, applied, and refused with words that help, before anything is asked."""

import re
from types import SimpleNamespace

import pytest

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.reader import load_declaration
from vision_batch.enrichment.run_params import RunParams, refuse_unknown
from vision_batch.errors import DeclarationError
from vision_batch.form import run_form
from vision_batch.models import MODELS
from vision_batch.operators.run import VisionBatchPlanOperator, run_partitions

WRONG = {
    "model as a number": ({"model": 7}, "param 'model': found 7; allowed: a model's id, such as 'gemma-3-12b-it', or null for the declared one"),
    "revision as a text": ({"revision": "2"}, "param 'revision': found '2'; allowed: a whole number, at least 1, or null for the declared one"),
    "no revision": ({"revision": 0}, "param 'revision': found 0; allowed: a whole number, at least 1, or null for the declared one"),
    "no jobs": ({"max_shards": 0}, "param 'max_shards': found 0; allowed: a whole number from 1 to 100, or null for the declared one"),
    "a day as a number": ({"partition_to": 20261122}, "param 'partition_to': found 20261122; allowed: a partition's key as text, or null"),
    "yes for a truth": ({"flush": "yes"}, "param 'flush': found 'yes'; allowed: true or false"),
    "unknown model": ({"model": "gemma-3-12b"}, f"param 'model': there is no model 'gemma-3-12b': did you mean gemma-3-12b-it or gemma-3-27b-it or gemma-3-4b-it? Allowed: {', '.join(sorted(MODELS))}"),
    "wrong way round": ({"partition_from": "2026-11-23", "partition_to": "2026-11-22"}, "partition_from is '2026-11-23', after partition_to '2026-11-22': swap them"),
    "no such day": ({"partition_from": "2026-02-30"}, "partition '2026-02-30' does not fit the format '%Y-%m-%d': write it like '2026-11-22'"),
    "another way to write it": ({"partition_to": "22.11.2026"}, "partition '22.11.2026' does not fit the format '%Y-%m-%d': write it like '2026-11-22'"),
    "slip of the pen": ({"partition_form": "2026-11-22"}, "there is no param 'partition_form'; did you mean 'partition_from'? allowed: dry_run, flush, max_shards, model, newest_first, partition_from, partition_to, revision"),
}  # fmt: skip


@pytest.fixture
def declaration(project, tmp_path) -> Declaration:
    include = project / "include"
    environ = {"VISION_BATCH_WORK": f"file://{tmp_path}/work", "VISION_BATCH_WAREHOUSE": str(tmp_path / "w.duckdb")}
    return load_declaration(include / "enrichments" / "photo_quality.yaml", include_folder=include, environ=environ)


def context(declaration, conf, **run):
    """What Airflow gives a task: the run's conf is in the params too."""
    form = run_form(declaration)
    params = {name: param.value for name, param in form.items()} | conf
    return {"params": params, "dag": SimpleNamespace(params=form), "dag_run": SimpleNamespace(conf=conf, **run)}


@pytest.mark.parametrize(("conf", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_param_is_named_with_what_is_allowed_and_nothing_is_written(declaration, tmp_path, conf, said):
    operator = VisionBatchPlanOperator(task_id="plan", declaration=declaration)
    with pytest.raises(DeclarationError) as caught:
        operator.execute(context(declaration, conf))
    assert str(caught.value) == said
    assert list(tmp_path.iterdir()) == []


def test_a_partition_that_is_none_of_the_schedules_is_refused_with_the_nearest(declaration):
    weekly = declaration.model_copy(update={"schedule": "0 0 * * 1"})
    with pytest.raises(DeclarationError) as caught:
        run_partitions(weekly, {"params": {"partition_from": "2026-11-25", "partition_to": "2026-11-26"}})
    assert str(caught.value) == (
        "no partition begins from '2026-11-25' to '2026-11-26'; the nearest are '2026-11-23' and '2026-11-30'"
    )


def test_a_backfill_takes_no_range(declaration):
    with pytest.raises(DeclarationError, match="leave partition_from and partition_to out of a backfill"):
        run_partitions(declaration, context(declaration, {"partition_from": "2026-11-22"}, run_type="backfill"))


def test_nothing_chosen_is_the_declaration_itself(declaration):
    assert RunParams.read({}).asked(declaration) == declaration
    defaults = {name: param.value for name, param in run_form(declaration).items()}
    assert RunParams.read(defaults).asked(declaration) == declaration


def test_another_model_or_revision_is_another_question_and_fewer_jobs_are_not(declaration):
    for changed in ({"model": "qwen2-vl-7b-instruct"}, {"revision": 2}):
        asked = RunParams.read(changed).asked(declaration)
        assert asked.question_key() != declaration.question_key()
        assert not asked.own
    asked = RunParams.read({"max_shards": 2}).asked(declaration)
    assert asked.question_key() == declaration.question_key()
    assert asked.own
    assert asked.limits.max_shards_per_run == 2


def test_params_of_other_tasks_are_not_looked_at(declaration):
    """A DAG composed by hand has params of its own."""
    assert RunParams.read({"colour": "red", "flush": True}).asked(declaration) == declaration
    refuse_unknown(["colour", "airflow/task_span_detail_level"], ["colour", "flush"])


def test_the_form_covers_what_a_run_may_choose_and_its_own_defaults_are_allowed(declaration):
    form = run_form(declaration)
    assert form.keys() == RunParams.model_fields.keys()
    for param in form.values():
        param.resolve()
        assert param.schema["title"]
        assert param.schema["description_md"]


def test_partitions_are_picked_from_a_calendar_where_their_keys_are_dates(declaration):
    assert run_form(declaration)["partition_from"].schema["format"] == "date"
    hourly = {"source": declaration.source.model_copy(update={"partition_format": "%Y-%m-%dT%H"})}
    param = run_form(declaration.model_copy(update=hourly))["partition_from"]
    assert "format" not in param.schema
    assert "2026-11-22T00" in param.schema["description_md"]


def test_the_docs_name_every_param_and_only_what_is_said(project):
    page = (project / "docs" / "running.md").read_text()
    table = page.partition("## Trigger it")[2].partition("###")[0]
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| ", table, re.MULTILINE)
    assert sorted(re.findall(r"[a-z_]+", " ".join(rows))) == sorted(RunParams.model_fields)
    for said in ("wrong way round", "another way to write it"):
        assert f"`{WRONG[said][1]}`" in page
