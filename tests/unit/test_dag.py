import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowSkipException

from vision_batch.dag import REMOVED, build_dags, build_janitor_dag, find_include
from vision_batch.enrichment.reader import declaration_files, declared_name, load_declaration
from vision_batch.errors import DeclarationError
from vision_batch.models import MODELS
from vision_batch.operators.janitor import MOST_RUNS, flush_run_ids
from vision_batch.operators.run import folded, run_partitions, scheduled_start, unfolded
from vision_batch.steps.publish import Published


@pytest.fixture
def include(tmp_path, project) -> Path:
    """Copy the project's declarations to a place where a test may add to them."""
    return Path(shutil.copytree(project / "include", tmp_path / "include"))


@pytest.fixture
def dag(include):
    return build_dags(include, environ={})["photo-quality"]


def declare(include, name, **changes):
    text = (include / "enrichments" / "photo_quality.yaml").read_text()
    for old, new in {"photo-quality": name, **changes}.items():
        text = text.replace(old, new)
    (include / "enrichments" / f"{name}.yaml").write_text(text)


def test_a_declaration_becomes_the_flow_of_the_design(dag):
    edges = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
    assert edges == {
        "plan": ["claim", "publish"],
        "claim": ["publish", "shard.clean", "shard.load", "shard.prepare", "shard.submit"],
        "shard.prepare": ["shard.submit"],
        "shard.submit": ["shard.wait"],
        "shard.wait": ["shard.load"],
        "shard.load": ["publish", "shard.clean"],
        "shard.clean": [],
        "publish": [],
    }
    assert dag.get_task("shard.clean").is_teardown
    assert dag.get_task("publish").trigger_rule == "all_done"


def test_a_task_group_is_mapped_over_the_shards(dag):
    assert {task.task_id for task in dag.tasks if not isinstance(task, MappedOperator)} >= {"plan", "claim", "publish"}
    assert dag.task_group.get_child_by_label("shard").__class__.__name__ == "MappedTaskGroup"


def test_the_schedule_cuts_intervals_in_the_declared_timezone_and_does_not_catch_up(dag):
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert str(dag.timetable.timezone) == "Europe/Moscow"
    assert dag.catchup is False


def test_the_model_is_a_dropdown_of_the_eight(dag):
    schema = dag.params.get_param("model").schema
    assert sorted(schema["enum"]) == sorted(MODELS)
    assert schema["values_display"].keys() == MODELS.keys()
    assert dag.params["model"] == "gemma-3-12b-it"
    assert dag.params["partition_from"] is None


def test_a_schedule_may_be_left_out(include):
    declare(include, "by-hand", **{'schedule: "0 0 * * *"': "schedule: null"})
    assert build_dags(include, environ={})["by-hand"].schedule is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"name: broken\nmodel: [", "broken.yaml"),
        (b"name: broken\nmodel: gemma-3-12b-it\n", "prompt"),
        (b"\xff\xfe\x00", "broken.yaml"),
        (b"", "broken.yaml"),
        (b"- a\n- b\n", "broken.yaml"),
    ],
)
def test_a_broken_declaration_becomes_a_dag_that_says_why_and_leaves_the_others_alone(include, body, words):
    (include / "enrichments" / "broken.yaml").write_bytes(body)
    dags = build_dags(include, environ={})
    assert dags.keys() == {"photo-quality", "broken"}
    assert dags["broken"].schedule is None
    assert "broken" in dags["broken"].tags
    assert words in dags["broken"].doc_md


def test_two_declarations_of_one_name_do_not_replace_each_other_silently(include):
    shutil.copy(include / "enrichments" / "photo_quality.yaml", include / "enrichments" / "a_copy.yaml")
    dags = build_dags(include, environ={})
    broken = [dag for dag in dags.values() if "broken" in dag.tags]
    assert len(broken) == 1
    assert "photo-quality" in broken[0].doc_md


@pytest.mark.parametrize(
    "name", ["._photo_quality.yaml", ".photo_quality.yaml.swp.yml", "photo_quality.yaml~", "a.yxml"]
)
def test_what_editors_and_copying_leave_is_no_declaration(include, name):
    (include / "enrichments" / name).write_bytes(b"\0\5\x16\7")
    assert [path.name for path in declaration_files(include)] == ["photo_quality.yaml"]
    assert build_dags(include, environ={}).keys() == {"photo-quality"}


def test_a_missing_prompt_file_is_told_in_the_dag(include):
    (include / "prompts" / "photo_quality.md").unlink()
    [broken] = build_dags(include, environ={}).values()
    assert "photo_quality.md" in broken.doc_md


def test_declarations_lie_beside_the_dag_files_or_where_the_environment_says(include):
    dags = include.parent / "dags"
    dags.mkdir()
    assert find_include(str(dags / "enrichments.py"), {}) == include
    assert find_include(str(dags / "enrichments.py"), {"VISION_BATCH_INCLUDE": ""}) == include
    shutil.move(include, dags / "include")  # where only the folder of DAG files comes to the workers
    for named in ("include", str(dags / "include")):
        assert find_include(str(dags / "enrichments.py"), {"VISION_BATCH_INCLUDE": named}) == dags / "include"
    with pytest.raises(
        DeclarationError, match=r"there is no folder .*/include/enrichments, .*INCLUDE is not set\. Put"
    ):
        find_include(str(dags / "enrichments.py"), {})
    with pytest.raises(
        DeclarationError, match=r"there is no folder .*/dags/nowhere/enrichments, .*INCLUDE is 'nowhere'"
    ):
        find_include(str(dags / "enrichments.py"), {"VISION_BATCH_INCLUDE": "nowhere"})


def test_the_janitor_runs_without_being_unpaused_and_enrichments_do_not(include, dag):
    """Without it small days may wait for ever, and what dead runs left on the service stays."""
    assert build_janitor_dag(include, environ={}).is_paused_upon_creation is False
    assert dag.is_paused_upon_creation is None


def test_the_janitor_has_a_task_for_what_removed_enrichments_left(include):
    declare(include, "broken-one", **{"gemma-3-12b-it": "no-model"})
    task = build_janitor_dag(include, environ={}).get_task(REMOVED)
    assert [declaration.name for declaration in task.declarations] == ["photo-quality"]
    assert (task.declared, task.nameless) == ({"photo-quality", "broken-one"}, ())
    assert not task.upstream_task_ids


def test_no_enrichments_name_takes_the_janitor_away(include):
    for name in ("abc", "abc-flush", "removed"):
        declare(include, name, **{"limits:": "pack: {min_tokens: 200000}\n\nlimits:"})
    tasks = build_janitor_dag(include, environ={}).task_ids
    assert {"abc", "abc_flush", "abc-flush", "abc-flush_flush", "removed", "removed_flush", REMOVED} <= {*tasks}


def test_nothing_counts_as_removed_while_a_declaration_does_not_say_its_name(include):
    (include / "enrichments" / "odd.yaml").write_text("name: [")
    task = build_janitor_dag(include, environ={}).get_task(REMOVED)
    assert task.nameless == ("odd.yaml",)
    with pytest.raises(AirflowSkipException, match=r"odd\.yaml are broken"):
        task.execute({})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("name: a-1\n", "a-1"),
        ("# name: no\n  name: no\nname : 'yes' # it\n: : [", "yes"),
        ('name: "two"\r\n', "two"),
        ("name: Wrong\n", None),
        ("name: 'open\n", None),
        ("named: a\n", None),
    ],
)
def test_a_broken_declaration_may_still_say_its_name(tmp_path, text, name):
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode())
    assert declared_name(path) == name
    assert declared_name(tmp_path / "none.yaml") is None


@pytest.mark.parametrize(
    ("first", "last", "schedule", "key_format"),
    [
        ("2026-11-22", "2026-11-22", "0 0 * * *", "%Y-%m-%d"),
        ("2020-01-01", "2029-12-31", "0 3 * * *", "%Y-%m-%d"),
        ("2026-01-01T00", "2026-12-31T23", "0 * * * *", "%Y-%m-%dT%H"),
    ],
)
def test_the_partitions_of_a_range_are_passed_on_as_its_ends(include, first, last, schedule, key_format):
    path = include / "enrichments" / "photo_quality.yaml"
    declaration = load_declaration(path, include_folder=include, environ={})
    source = declaration.source.model_copy(update={"partition_format": key_format})
    declaration = declaration.model_copy(update={"schedule": schedule, "source": source, "timezone": "UTC"})
    partitions = run_partitions(declaration, {"params": {"partition_from": first, "partition_to": last}})
    assert (partitions[0], partitions[-1]) == (first, last)
    assert unfolded(declaration, folded(partitions)) == partitions


def test_what_a_run_over_ten_years_tells_fits_into_an_xcom():
    statuses = dict.fromkeys(("answered", "failed", "invalid", "missing", "rejected"), 1234)
    days = {
        f"{year}-{month:02}-{day:02}": statuses
        for year in range(2016, 2027)
        for month in range(1, 13)
        for day in range(1, 29)
    }
    published = Published(days, dict.fromkeys(days, 1), days, dict.fromkeys(days, "x" * 20), dict.fromkeys(days, 1))
    for told in (published.event(), published.as_dict()):
        assert len(json.dumps(told)) < 64_000
        assert told["rows"] == 5 * 1234 * len(days)
        assert max(told["partitions"]) == "2026-12-28"
        assert len(told["partitions"]) + told["more_partitions"] == len(days)


class Run:
    run_after = datetime(2026, 11, 24, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("context", "partitions"),
    [
        ({"data_interval_start": datetime(2026, 11, 21, 21, tzinfo=UTC)}, ["2026-11-22"]),
        ({"dag_run": Run()}, ["2026-11-23"]),
        (
            {"params": {"partition_from": "2026-11-20", "partition_to": "2026-11-22"}},
            ["2026-11-20", "2026-11-21", "2026-11-22"],
        ),
        ({"params": {"partition_from": "2026-11-20"}}, ["2026-11-20"]),
        ({"params": {"partition_to": "2026-11-20"}}, ["2026-11-20"]),
    ],
    ids=["scheduled", "by hand without dates", "from and to", "from only", "to only"],
)
def test_a_run_is_about(include, context, partitions):
    path = include / "enrichments" / "photo_quality.yaml"
    declaration = load_declaration(path, include_folder=include, environ={})
    assert run_partitions(declaration, context) == partitions


def test_runs_for_what_has_waited_are_named_after_the_moment_since_which_it_has():
    moscow = datetime(2026, 11, 22, 3, 0, 12, tzinfo=ZoneInfo("Europe/Moscow"))
    run_ids = flush_run_ids(moscow)
    assert run_ids[:2] == ["flush__2026-11-22T00:00:12+00:00", "flush__2026-11-22T00:00:12+00:00__2"]
    assert run_ids == flush_run_ids(moscow.astimezone(UTC))
    assert len(set(run_ids)) == MOST_RUNS
    assert not set(run_ids) & set(flush_run_ids(moscow + timedelta(microseconds=1)))


@pytest.mark.parametrize(
    ("run_type", "conf", "schedule", "is_scheduled"),
    [
        ("scheduled", {}, "0 0 * * *", True),
        ("backfill", {}, "0 0 * * *", False),
        ("manual", {}, "0 0 * * *", False),
        ("manual", {"partition_from": "2026-11-20"}, "0 0 * * *", False),
        ("operator_triggered", {"flush": True}, "0 0 * * *", False),
        ("asset_triggered", {}, "0 0 * * *", False),
        ("scheduled", {}, None, False),
    ],
)
def test_only_runs_by_schedule_look_for_a_pause_before_them(include, run_type, conf, schedule, is_scheduled):
    path = include / "enrichments" / "photo_quality.yaml"
    declaration = load_declaration(path, include_folder=include, environ={}).model_copy(update={"schedule": schedule})
    begins = datetime(2026, 11, 21, 21, tzinfo=UTC)
    run = SimpleNamespace(run_type=DagRunType(run_type), conf=conf)
    context = {"dag_run": run, "data_interval_start": begins, "params": conf}
    assert scheduled_start(declaration, context) == (begins if is_scheduled else None)
