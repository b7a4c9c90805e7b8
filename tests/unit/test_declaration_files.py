"""Declarations as files: what YAML allows and we do not, places, variables, defaults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vision_batch.enrichment.declaration import Declaration, with_overrides
from vision_batch.enrichment.document import MAX_FILE_BYTES, read_document
from vision_batch.enrichment.reader import load_declaration
from vision_batch.errors import DeclarationError, UnknownModelError

GOOD = """\
name: shop-photos
model: gemma-3-12b-it
work_folder: var/work
source:
  uri: ${IMAGES:-var/images}/{partition}/
destination:
  path: ${WAREHOUSE}
  table: enrichment.photos
prompt: prompts/photos.md
answer:
  fields:
    price: {type: number, description: the price}
"""


@pytest.fixture
def include(tmp_path: Path) -> Path:
    for folder in ("enrichments", "prompts"):
        (tmp_path / "include" / folder).mkdir(parents=True)
    (tmp_path / "include" / "prompts" / "photos.md").write_text("\ufeff What is this?\r\n", newline="")
    return tmp_path / "include"


def load(include: Path, text: str | bytes = GOOD, base_folder: Path | None = None, **environ: str) -> Declaration:
    path = include / "enrichments" / "photos.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    environ = {"WAREHOUSE": "/data/w.duckdb", **environ}
    return load_declaration(path, include_folder=include, environ=environ, base_folder=base_folder)


def message(include: Path, text: str | bytes, **environ: str) -> str:
    with pytest.raises(DeclarationError) as caught:
        load(include, text, **environ)
    return str(caught.value)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join(f'*{before}' for _ in range(9))}]\n"
    for before, here in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{here}: &{here} {{<<: [{', '.join(f'*{before}' for _ in range(9))}]}}\n"
    for before, here in zip("abcdefgh", "bcdefghi", strict=True)
)

FILES = {
    "empty": ("", "line 1: the file does not hold a mapping such as 'name: photo-quality'"),
    "comments only": ("# nothing\n", "line 1: the file does not hold a mapping such as 'name: photo-quality'"),
    "list": ("- name: x\n", "line 1: the file does not hold a mapping such as 'name: photo-quality'"),
    "text": ("photos", "line 1: the file does not hold a mapping such as 'name: photo-quality'"),
    "malformed": (GOOD + "a: b: c\n", "line 13: this is not YAML: put the value in quotes if it holds a ': ', else mind how far the line is indented (mapping values are not allowed here)"),
    "open quote": ("name: x\nmodel: 'x\n", "line 2: this is not YAML: the quotes that begin here do not end (while scanning a quoted scalar: found unexpected end of stream)"),
    "tab": ("name: x\nsource:\n\turi: y\n", "line 3: this is not YAML: indent with spaces, not with tabs (while scanning for the next token: found character '\\t' that cannot start any token)"),
    "twice": (GOOD + "model: deepseek-vl2\n", "line 13, field 'model': the field is there twice"),
    "twice within": ("source:\n  uri: a\n  uri: b\n", "line 3, field 'source.uri': the field is there twice"),
    "no colon": ("name: x\nmodel y\nrevision: 1\n", "line 2: this is not YAML: a ':' and a blank are missing after a key (while scanning a simple key: could not find expected ':')"),
    "stars": ("name: x\nschedule: * * * * *\n", "line 2: this is not YAML: put the value in quotes, its first sign has a meaning (while scanning an alias: expected alphabetic or numeric character, but found ' ')"),
    "indented": ("source:\n  uri: y\n   connection: z\n", "line 3: this is not YAML: put the value in quotes if it holds a ': ', else mind how far the line is indented (mapping values are not allowed here)"),
    "braces": ("source:\n  uri: {partition}/photos\n", "line 2: this is not YAML: indent the line as those beside it; if a value begins with { or [, put the value in quotes (while parsing a block mapping: expected <block end>, but found '<scalar>')"),
    "two documents": ("name: x\n---\nname: y\n", "line 2: this is not YAML: expected a single document in the stream: but found another document"),
    "cp1251": ("name: x\ndescription: цвет\n".encode("cp1251"), "line 2: the file is not UTF-8 text"),
    "UTF-16": ("name: x".encode("utf-16"), "line 1: the file is not UTF-8 text"),
    "binary": (b"name: \x00", 'line 1: this is not YAML: unacceptable character #x0000: special characters are not allowed in "<unicode string>", position 6'),
    "half a character": ('name: x\ndescription: "\\ud83d"\n', "line 2, field 'description': the text holds half of a surrogate pair, which is no character"),
    "program": ("name: !!python/object/apply:os.system [ls]\n", "line 1: this is not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
    "no number": ("name: x\nrevision: !!int new\n", "line 2: this is not YAML: 'new' is no int; put it in quotes if it is a text"),
    "huge number": ("name: x\nrevision: " + "9" * 5000, f"line 2: this is not YAML: '{'9' * 50}' is no int; put it in quotes if it is a text"),
    "number as a name": ("1: x\n", "line 1, field '1': the name of a field has to be a text: put it in quotes"),
    "list as a name": ("? [a]\n: x\n", "line 1: the name of a field has to be a text: put it in quotes"),
    "unknown alias": ("name: *x\n", "line 1: this is not YAML: put the value in quotes, its first sign has a meaning (found undefined alias 'x')"),
    "endless alias": ("name: &x [*x]\n", "line 1, field 'name.0.0': the file has more than 30 levels, with every alias written out"),
    "laughs": (LAUGHS, "the file has more than 10000 values, with every alias written out"),
    "merged laughs": (MERGES, "the file has more than 10000 values, with every alias written out"),
    "deep": ("name: " + "[" * 30_000, "line 1: values are nested deeper than 30 levels"),
    "deep and closed": ("name: " + "[" * 40 + "]" * 40, "line 1, field 'name.0.0': the file has more than 30 levels, with every alias written out"),
    "large": ("#" * (MAX_FILE_BYTES + 1), "line 1: the file has 65537 bytes; allowed are 65536"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_taken_is_named_with_its_line(include, text, said):
    found = message(include, text)  # one that takes for ever runs into the time limit of all tests
    assert found.startswith("photos.yaml, line ")
    assert found.endswith(said)


@pytest.mark.parametrize("name", ["missing.yaml", "folder.yaml"])
def test_a_file_that_cannot_be_read_is_named(include, name):
    (include / "folder.yaml").mkdir()
    with pytest.raises(
        DeclarationError, match=rf"{name}, line 1: the file cannot be read: (No such file|Is a directory)"
    ):
        load_declaration(include / name, include_folder=include, environ={})


def test_the_largest_file_is_read(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text("a: [" + "x, " * 9_000 + "]\nb: '" + "y" * 30_000 + "'")
    assert len(read_document(path).values["a"]) == 9_000


def test_aliases_and_merges_are_fine(include):
    text = GOOD.replace("    price: {type: number, description: the price}\n", "") + (
        "    front: &choice {type: enum, values: &marks [good, bad], description: the front}\n"
        "    back: {<<: *choice, description: the back}\n"
        "    side: {type: enum, values: *marks, description: the side}\n"
    )
    fields = load(include, text).answer.fields
    assert [field.values for field in fields] == [("good", "bad")] * 3
    assert [field.description for field in fields] == ["the front", "the back", "the side"]
    wrong = text.replace("<<: *choice, description: the back", "<<: *choice, descripton: the back")
    assert message(include, wrong).startswith(
        "photos.yaml, line 13, field 'answer.fields.back.descripton': there is no"
    )


def test_what_is_left_out_has_a_default(include):
    declaration = load(include)
    assert declaration.prompt == "What is this?"
    assert (declaration.schedule, declaration.timezone, declaration.connection) == (
        "0 0 * * *",
        "UTC",
        "ai_studio_default",
    )
    assert (declaration.branch, declaration.language, declaration.revision, declaration.marker) == (
        "latest",
        "en",
        1,
        True,
    )
    assert (declaration.options.temperature, declaration.options.max_tokens) == (0.0, 300)
    assert (declaration.limits.settle, declaration.limits.adopt_after) == (timedelta(seconds=120), timedelta(hours=6))
    assert declaration.own


def test_times_are_written_as_people_do(include):
    text = (
        GOOD
        + "start_date: 2024-02-29\ntimezone: Asia/Yekaterinburg\nlimits: {settle: 300, adopt_after: PT2H}\nschedule: null\n"
    )
    declaration = load(include, text)
    assert declaration.start == datetime(2024, 2, 28, 19, tzinfo=UTC)
    assert declaration.schedule is None
    assert (declaration.limits.settle, declaration.limits.adopt_after) == (timedelta(minutes=5), timedelta(hours=2))


@pytest.mark.parametrize("cron", ["0 0 * * *", "@daily", "*/15 * * * *", "0 3 * * mon-fri", "0 0 L * *"])
def test_schedules_that_are_crons_are_taken(include, cron):
    assert load(include, f'{GOOD}schedule: "{cron}"\n').schedule == cron


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "* * * * * *", "61 * * * *", "R R * * *", "0 0 31 2 *", "@sometimes", "H * * * *"]
)
def test_schedules_that_come_never_or_at_random_are_refused(include, cron):
    assert "is not a cron expression; write it like '0 0 * * *'" in message(include, f'{GOOD}schedule: "{cron}"\n')


@pytest.mark.parametrize("key_format", ["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y-%m", "%Y-%m-%dT%H-%M", "day=%d-%m-%Y"])
def test_formats_that_tell_partitions_apart_are_taken(include, key_format):
    text = GOOD.replace("source:\n", f"source:\n  partition_format: '{key_format}'\n")
    assert load(include, text).source.partition_format == key_format


@pytest.mark.parametrize("key_format", ["", "day", "%d", "%m-%d", "%Y-W%W", "%H", "%Q"])
def test_formats_that_mix_partitions_are_refused(include, key_format):
    text = GOOD.replace("source:\n", f"source:\n  partition_format: '{key_format}'\n")
    assert "does not tell one day from another; write it like '%Y-%m-%d'" in message(include, text)


def test_relative_places_lie_beside_the_include_folder_or_where_it_is_said(include, tmp_path):
    declaration = load(include, WAREHOUSE="w.duckdb")
    assert declaration.work_folder == f"file://{tmp_path}/var/work"
    assert declaration.source.prefix("2026-11-22") == f"file://{tmp_path}/var/images/2026-11-22/"
    assert declaration.destination.path == f"{tmp_path}/w.duckdb"
    assert load(include, base_folder=Path("/srv")).work_folder == "file:///srv/var/work"
    elsewhere = load(include, WAREHOUSE="file:///data/w.duckdb", IMAGES="s3://shop/photos")
    assert elsewhere.destination.path == "/data/w.duckdb"
    assert elsewhere.source.uri == "s3://shop/photos/{partition}/"


@pytest.mark.parametrize(
    ("place", "environ", "found"),
    [
        ("${A:-x}", {}, "x"),
        ("${A:-x}", {"A": ""}, "x"),
        ("${A:-x}", {"A": "y"}, "y"),
        ("a/${A}/b${B:-}", {"A": "1"}, "a/1/b"),
        ("${A}", {"A": "${B}"}, "${B}"),
        ("цены в $", {}, "цены в $"),
    ],
)
def test_variables_are_filled_in_once(include, tmp_path, place, environ, found):
    assert load(include, GOOD.replace("var/work", place), **environ).work_folder == f"file://{tmp_path}/{found}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("${WAREHOUSE}", "${A}", "line 7, field 'destination.path': the environment variable A is not set and has no default"),
        ("${WAREHOUSE}", "${A:?must}", "line 7, field 'destination.path': found '${A:?must}'; write a variable like ${NAME} or ${NAME:-default}"),
        ("var/work", "${1}", "line 3, field 'work_folder': found '${1}'; write a variable like ${NAME} or ${NAME:-default}"),
        ("var/work", "$HOME/work", "line 3, field 'work_folder': found '$HOME/work'; write a variable like ${NAME} or ${NAME:-default}"),
        ("enrichment.photos", "${A}.photos", "line 8, field 'destination.table': found '${A}.photos'; variables are allowed in work_folder, source.uri, source.manifest, source.query_file, source.allowed_prefixes, destination.path, destination.staging only"),
        ("the price", "'${A}'", "line 12, field 'answer.fields.price.description': found '${A}'; variables are allowed in work_folder, source.uri, source.manifest, source.query_file, source.allowed_prefixes, destination.path, destination.staging only"),
    ],
)  # fmt: skip
def test_variables_that_cannot_be_filled_in_are_named(include, old, new, said):
    assert message(include, GOOD.replace(old, new)) == f"photos.yaml, {said}"


def test_a_declaration_survives_being_written_into_a_shard(include):
    """Shards keep the declaration that they were claimed with as JSON."""
    declaration = load(include, GOOD + "limits: {settle: 300}\nstart_date: 2024-02-29\n")
    again = Declaration.model_validate(declaration.model_dump(mode="json"))
    assert again == declaration
    assert again.question_key() == declaration.question_key()


def test_another_model_is_another_question_that_is_not_our_own(include):
    declaration = load(include)
    other = with_overrides(declaration, model="deepseek-vl2")
    assert (other.model, other.own) == ("deepseek-vl2", False)
    assert other.question_key() != declaration.question_key()
    assert with_overrides(declaration, model="gemma-3-12b-it") == declaration
    with pytest.raises(UnknownModelError, match="did you mean deepseek-vl2"):
        with_overrides(declaration, model="deepseek-vl3")


def test_the_example_of_the_project_is_good(project):
    include = project / "include"
    declaration = load_declaration(include / "enrichments" / "photo_quality.yaml", include_folder=include, environ={})
    assert (declaration.name, declaration.destination.table) == ("photo-quality", "enrichment.photo_quality")
