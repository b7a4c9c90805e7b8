"""``vision-batch check``: what it prints and how it ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vision_batch import cli
from vision_batch.enrichment.check import run

GOOD = """\
name: {name}
model: gemma-3-12b-it
work_folder: var/work
source: {{uri: "s3://shop/photos/{{partition}}/"}}
prompt: prompts/photos.md
answer:
  fields:
    kind: {{type: {kind}, description: the kind}}
destination: {{path: w.duckdb, table: {table}}}
"""


@pytest.fixture
def include(tmp_path: Path, monkeypatch) -> Path:
    for folder in ("enrichments", "prompts"):
        (tmp_path / "include" / folder).mkdir(parents=True)
    (tmp_path / "include" / "prompts" / "photos.md").write_text("What is this?")
    monkeypatch.chdir(tmp_path)
    return Path("include")


def write(include: Path, file: str, *, name: str, kind: str = "string", table: str = "enrichment.photos") -> Path:
    path = include / "enrichments" / file
    path.write_text(GOOD.format(name=name, kind=kind, table=table))
    return path


def test_good_declarations_have_a_line_each(include, capsys):
    write(include, "a.yaml", name="first")
    write(include, "b.yml", name="second", table="enrichment.others")
    assert cli.main(["check"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "a.yaml: first asks gemma-3-12b-it about s3://shop/photos/{partition}/ into enrichment.photos",
        "b.yml: second asks gemma-3-12b-it about s3://shop/photos/{partition}/ into enrichment.others",
    ]


def test_a_wrong_one_is_told_and_the_others_are_still_checked(include, capsys):
    write(include, "a.yaml", name="Wrong", kind="text")
    write(include, "b.yaml", name="good")
    assert run(["--include", "include"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("b.yaml: good asks")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        "a.yaml, line 1, field 'name'",
        "a.yaml, line 8, field 'answer.fields.kind.type'",
    ]


def test_one_name_for_two_is_an_error(include, capsys):
    write(include, "a.yaml", name="same")
    write(include, "b.yaml", name="same", table="enrichment.others")
    assert run([]) == 1
    assert capsys.readouterr().err == (
        "b.yaml, line 1, field 'name': 'same' is the name of a.yaml too; give each enrichment its own\n"
    )


@pytest.mark.parametrize("table", ["enrichment.photos", "Enrichment.Photos"])
def test_two_types_of_one_column_are_an_error(include, capsys, table):
    write(include, "a.yaml", name="first")
    write(include, "b.yaml", name="second", kind="integer", table=table)
    assert run([]) == 1
    assert capsys.readouterr().err == (
        "b.yaml, line 8, field 'answer.fields.kind': the column kind would be integer, but a.yaml makes it string in "
        "enrichment.photos; give the field another name, or the answers another table\n"
    )


def test_two_may_share_a_table_whose_columns_fit(include):
    write(include, "a.yaml", name="first")
    write(include, "b.yaml", name="second", kind="enum, values: [x]")
    assert run([]) == 0


def test_files_that_are_named_are_the_only_ones_checked(include, capsys):
    write(include, "a.yaml", name="Wrong")
    good = write(include, "b.yaml", name="good")
    assert run([str(good)]) == 0
    assert run([str(good), "missing.yaml"]) == 1
    assert "missing.yaml, line 1: the file cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--colour"], ["--include", "nowhere"], ["--include"]])
@pytest.mark.usefixtures("include")
def test_wrong_usage_ends_with_2(argv):
    with pytest.raises(SystemExit) as caught:
        run(argv)
    assert caught.value.code == 2


@pytest.mark.usefixtures("include")
def test_a_folder_without_declarations_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        run([])
    assert caught.value.code == 2
    assert "there are no declarations in include/enrichments" in capsys.readouterr().err


def test_variables_come_from_the_environment(include, monkeypatch, capsys):
    path = write(include, "a.yaml", name="first")
    path.write_text(path.read_text().replace("var/work", "${SHOP_WORK}"))
    assert run([]) == 1
    assert "the environment variable SHOP_WORK is not set" in capsys.readouterr().err
    monkeypatch.setenv("SHOP_WORK", "work")
    assert run([]) == 0


def test_the_project_itself_is_good(project, tmp_path, monkeypatch, capsys):
    shutil.copytree(project / "include", tmp_path / "include")
    monkeypatch.chdir(tmp_path)
    assert run([]) == 0
    assert "photo_quality.yaml: photo-quality asks gemma-3-12b-it about file://" in capsys.readouterr().out


def test_a_folder_stands_for_its_declarations(include, capsys):
    write(include, "a.yaml", name="first")
    write(include, "b.yml", name="second", table="enrichment.others")
    assert run(["include/enrichments"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
