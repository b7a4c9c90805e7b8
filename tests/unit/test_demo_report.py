import io
from pathlib import Path

import pytest
from rich.console import Console

from vision_batch.demo import report
from vision_batch.demo.bill import BilledJob
from vision_batch.enrichment.reader import load_declaration

duckdb = pytest.importorskip("duckdb")
INCLUDE = Path(__file__).resolve().parents[2] / "include"
DAYS = ("2026-11-17", "2026-11-18")


@pytest.fixture
def declaration():
    return load_declaration(INCLUDE / "enrichments" / "photo_quality.yaml", include_folder=INCLUDE, environ={})


@pytest.fixture
def out():
    return Console(file=io.StringIO(), width=200, highlight=False)


@pytest.fixture
def bucket(tmp_path):
    for name in ("2026-11-17/a.jpg", "2026-11-17/sub/b.PNG", "2026-11-18/c.heic", "2026-11-19/other.jpg"):
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("2026-11-17/notes.txt", "2026-11-17/.hidden.jpg", "2026-11-18/.thumbs/c.jpg"):
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "bucket"


def warehouse(file: Path, declaration, uris: list[str], *, question: str | None = None) -> Path:
    fields = ", ".join(f'"{field.name}" varchar' for field in declaration.answer.fields)
    with duckdb.connect(str(file)) as connection:
        connection.execute("create schema if not exists enrichment")
        connection.execute(
            "create table if not exists enrichment.photo_quality (image_uri varchar, partition varchar, status varchar, "
            f"error varchar, job_id varchar, estimated_tokens bigint, question_key varchar, {fields})"
        )
        for uri in uris:
            connection.execute(
                "insert into enrichment.photo_quality (image_uri, partition, status, question_key) values (?, ?, ?, ?)",
                [uri, Path(uri).parts[-2], "answered", question or declaration.question_key()],
            )
    return file


def test_images_are_found_by_ending_whatever_its_case_and_hidden_ones_are_passed_over(bucket, declaration):
    found = report.images_in(bucket, DAYS, declaration.source.extensions)
    names = [Path(uri).relative_to(f"file://{bucket}").as_posix() for uri in found]
    assert names == ["2026-11-17/a.jpg", "2026-11-17/sub/b.PNG", "2026-11-18/c.heic"]


def test_no_warehouse_and_no_table_mean_no_answers(tmp_path, declaration):
    file = tmp_path / "warehouse.duckdb"
    assert report.read_answers(file, declaration).rows == ()
    duckdb.connect(str(file)).close()
    assert report.read_answers(file, declaration).rows == ()


def test_only_the_declarations_own_question_counts(tmp_path, declaration):
    uri = "file:///b/2026-11-17/a.jpg"
    file = warehouse(tmp_path / "w.duckdb", declaration, [uri])
    warehouse(file, declaration, [uri], question="an older prompt")
    answers = report.read_answers(file, declaration)
    assert [row["image_uri"] for row in answers.rows] == [uri]
    assert answers.fields == tuple(field.name for field in declaration.answer.fields)


@pytest.mark.parametrize(
    "expected",
    [
        (["file:///b/d/a.jpg", "file:///b/d/b.jpg"], True, "Each of the 2 images has its row"),
        (["file:///b/d/a.jpg"], False, "file:///b/d/b.jpg has no row"),
        (
            ["file:///b/d/a.jpg", "file:///b/d/b.jpg", "file:///b/d/c.jpg"],
            False,
            "file:///b/d/c.jpg has a row but no image",
        ),
        (
            ["file:///b/d/a.jpg", "file:///b/d/b.jpg", "file:///b/d/b.jpg"],
            False,
            "file:///b/d/b.jpg has more than one row",
        ),
    ],
    ids=["equal", "missing", "surplus", "repeated"],
)
def test_images_and_rows_must_be_the_same_set(tmp_path, declaration, out, expected):
    uris, good, said = expected
    answers = report.read_answers(warehouse(tmp_path / "w.duckdb", declaration, uris), declaration)
    verdict = report.judge(["file:///b/d/a.jpg", "file:///b/d/b.jpg"], answers)
    assert verdict.good is good
    report.show_verdict(verdict, out)
    assert said in out.file.getvalue()


def test_no_images_are_no_success(tmp_path, declaration):
    assert not report.judge([], report.read_answers(tmp_path / "none.duckdb", declaration)).good


def test_names_with_brackets_are_shown_as_they_are(tmp_path, declaration, out):
    uri = "file:///b/2026-11-17/[red] photo.jpg"
    answers = report.read_answers(warehouse(tmp_path / "w.duckdb", declaration, [uri]), declaration)
    report.show_answers(answers, out)
    report.show_partitions(answers, out)
    assert "2026-11-17/[red] photo.jpg" in out.file.getvalue()


def test_the_bill_is_summed(out):
    jobs = [BilledJob("job-1", 6, 2500, 200_000, "COMPLETED"), BilledJob("job-2", 6, 250_000, 250_000, "FAILED")]
    report.show_bill(jobs, out)
    assert "2 jobs, 450,000 billed tokens" in out.file.getvalue()
