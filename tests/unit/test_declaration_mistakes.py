"""What a person reads after a mistake in a declaration: file, line, field, found, allowed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.reader import load_declaration
from vision_batch.errors import DeclarationError

GOOD = """\
name: shop-photos
model: gemma-3-12b-it
schedule: "0 0 * * *"
timezone: Europe/Moscow
work_folder: var/work
source:
  uri: s3://shop/photos/{partition}/
destination:
  path: var/warehouse.duckdb
  table: enrichment.photos
prompt: prompts/photos.md
answer:
  fields:
    kind:
      type: enum
      values: [photo, drawing]
      description: photo or drawing
    price:
      type: number
      description: the price
"""


@pytest.fixture
def include(tmp_path: Path) -> Path:
    for folder in ("enrichments", "prompts"):
        (tmp_path / "include" / folder).mkdir(parents=True)
    for name, text in {
        "photos": "What is this?",
        "empty": " \n",
        "braces": "Is it {colour}?",
        "product": "Is it a {product}?",
        "nul": "What is\0 this?",
    }.items():
        (tmp_path / "include" / "prompts" / f"{name}.md").write_text(text)
    (tmp_path / "include" / "prompts" / "latin.md").write_bytes("цвет".encode("cp1251"))
    return tmp_path / "include"


def load(include: Path, text: str | bytes, **environ: str) -> Declaration:
    path = include / "enrichments" / "photos.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_declaration(path, include_folder=include, environ=environ)


def message(include: Path, text: str | bytes, **environ: str) -> str:
    with pytest.raises(DeclarationError) as caught:
        load(include, text, **environ)
    return str(caught.value)


FIELDS = "alerts, answer, branch, budget, connection, description, destination, gate, language, limits, lookback, marker, model, name, options, owner, pack, preprocessing, prompt, repair, revision, schedule, source, start_date, tags, timezone, window_tokens, work_folder"
TEXT = "a text; put it in quotes if it looks like a number, a date or yes and no"

#: What is written instead of what, and what is said about it.
MISTAKES = {
    "unknown key": ("schedule:", "shedule:", f"line 3, field 'shedule': there is no such field; did you mean 'schedule'? allowed: {FIELDS}"),
    "what only runs set": ("schedule:", "own: false\nschedule:", f"line 3, field 'own': there is no such field; did you mean 'owner'? allowed: {FIELDS}"),
    "unknown inner key": ("  table:", "  tabel: x\n  table:", "line 10, field 'destination.tabel': there is no such field; did you mean 'table'? allowed: connection, path, staging, table, type"),
    "unknown key of a field": ("      description: the", "      units: rub\n      description: the", "line 20, field 'answer.fields.price.units': there is no such field; did you mean 'unit'? allowed: description, fields, items, maximum, minimum, name, required, store, type, unit, values"),
    "missing": ("name: shop-photos\n", "", "line 1, field 'name': the field is missing; write it like name: shelf-prices"),
    "missing inner": ("  table: enrichment.photos\n", "", "line 8, field 'destination.table': the field is missing; write it like table: enrichment.photos"),
    "missing in a field": ("      description: the price\n", "", "line 18, field 'answer.fields.price.description': the field is missing; write it like description: the price on the tag"),
    "number for a text": ("name: shop-photos", "name: 5", f"line 1, field 'name': found 5; allowed: {TEXT}"),
    "yes for a text": ("[photo, drawing]", "[photo, no]", f"line 16, field 'answer.fields.kind.values.1': found False; allowed: {TEXT}"),
    "nothing for a text": ("model: gemma-3-12b-it", "model:", f"line 2, field 'model': found nothing; allowed: {TEXT}"),
    "text for a mapping": ("source:\n  uri: s3://shop/photos/{partition}/", "source: s3://shop", "line 6, field 'source': found 's3://shop'; allowed: fields of its own, indented below it"),
    "text for a list": ("[photo, drawing]", "photo", "line 16, field 'answer.fields.kind.values': found 'photo'; allowed: a list such as [a, b]"),
    "text for a number": ("model:", "revision: new\nmodel:", "line 2, field 'revision': found 'new'; allowed: a whole number"),
    "fraction for a whole number": ("model:", "revision: 1.5\nmodel:", "line 2, field 'revision': found 1.5; allowed: a whole number"),
    "number below": ("model:", "revision: 0\nmodel:", "line 2, field 'revision': found 0; allowed: at least 1"),
    "number above": ("model:", "options: {temperature: 2}\nmodel:", "line 2, field 'options.temperature': found 2; allowed: at most 1"),
    "not a number": ("model:", "options: {temperature: .nan}\nmodel:", "line 2, field 'options.temperature': found nan; allowed: a number"),
    "text for a truth": ("model:", "marker: perhaps\nmodel:", "line 2, field 'marker': found 'perhaps'; allowed: true or false"),
    "text for a date": ("model:", "start_date: today\nmodel:", "line 2, field 'start_date': found 'today'; allowed: a date such as 2026-11-22"),
    "no such day": ("model:", "start_date: 2026-02-30\nmodel:", "line 2: this is not YAML: '2026-02-30' is no timestamp; put it in quotes if it is a text"),
    "date before time": ("model:", "start_date: 0001-01-01\nmodel:", "line 2, field 'start_date': found 0001-01-01; allowed: at least 1970-01-01"),
    "duration": ("model:", "limits: {adopt_after: soon}\nmodel:", "line 2, field 'limits.adopt_after': found 'soon'; allowed: seconds, or a duration such as PT2M"),
    "short settle": ("model:", "limits:\n  settle: 60\nmodel:", "line 3, field 'limits.settle': found 60 s; allowed: 120 s or more, or a job that the service lists late is paid for twice"),
    "one of several": ("model:", "branch: newest\nmodel:", "line 2, field 'branch': found 'newest'; allowed: 'latest', 'rc' or 'deprecated'"),
    "name": ("name: shop-photos", "name: Shop_photos", "line 1, field 'name': 'Shop_photos' is not a name; allowed: a lower-case letter, then at most 31 lower-case letters, digits or -"),
    "model": ("gemma-3-12b-it", "gema-3-12b", "line 2, field 'model': there is no model 'gema-3-12b': did you mean gemma-3-12b-it or gemma-3-27b-it or gemma-3-4b-it?"),
    "model with its branch": ("gemma-3-12b-it", "gemma-3-12b-it/rc", "line 2, field 'model': 'gemma-3-12b-it/rc' is more than a model's id; write gemma-3-12b-it, and the branch under 'branch'"),
    "model as a URI": ("gemma-3-12b-it", "gpt://f/gemma-3-12b-it", "line 2, field 'model': 'gpt://f/gemma-3-12b-it' is more than a model's id; write gemma-3-12b-it, and the branch under 'branch'"),
    "model as a wrong URI": ("gemma-3-12b-it", "gpt://x", "line 2, field 'model': 'gpt://x' is not a model URI: write gpt://<folder id>/<model>/latest"),
    "cron": ('"0 0 * * *"', "hourly", "line 3, field 'schedule': 'hourly' is not a cron expression; did you mean '@hourly'? write it like '0 0 * * *', or null for no schedule"),
    "clock": ('"0 0 * * *"', "0 3 * *", "line 3, field 'schedule': '0 3 * *' is not a cron expression; write it like '0 0 * * *', or null for no schedule"),
    "short timezone": ("Europe/Moscow", "MSK", "line 4, field 'timezone': 'MSK' is not a timezone; write an area with a city, such as Europe/Moscow, or UTC"),
    "shifted timezone": ("Europe/Moscow", "UTC+3", "line 4, field 'timezone': 'UTC+3' is not a timezone; write an area with a city, such as Europe/Moscow, or UTC"),
    "mistyped timezone": ("Europe/Moscow", "Europe/Moskow", "line 4, field 'timezone': 'Europe/Moskow' is not a timezone; did you mean Europe/Moscow?"),
    "timezone": ("Europe/Moscow", "Moscow", "line 4, field 'timezone': 'Moscow' is not a timezone; did you mean Europe/Moscow?"),
    "place": ("work_folder: var/work", "work_folder: http://x/y", "line 5, field 'work_folder': 'http://x/y' is not a place; allowed are file:///folder/, s3://bucket/folder/ or a relative path"),
    "empty place": ("work_folder: var/work", "work_folder: ''", "line 5, field 'work_folder': the place is empty; allowed are an absolute or a relative path"),
    "no partition": ("{partition}/", "", "line 7, field 'source.uri': 's3://shop/photos/' has no {partition}; write it like s3://bucket/photos/{partition}/"),
    "other braces": ("{partition}/", "{partition}/{hour}/", "line 7, field 'source.uri': 's3://shop/photos/{partition}/{hour}/' has {hour}, {partition}; write it like s3://bucket/photos/{partition}/"),
    "partition format": ("destination:", "  partition_format: '%d.%m'\ndestination:", "line 8, field 'source.partition_format': '%d.%m' does not tell one day from another; write it like '%Y-%m-%d'"),
    "no extension": ("destination:", "  extensions: []\ndestination:", "line 8, field 'source.extensions': [] are not endings of names; write them like [.jpg, .png]"),
    "extension": ("destination:", "  extensions: [jpg]\ndestination:", "line 8, field 'source.extensions': ['jpg'] are not endings of names; write them like [.jpg, .png]"),
    "empty owner": ("model:", "owner: ''\nmodel:", "line 2, field 'owner': found ''; allowed: at least 1 character"),
    "two owners": ("model:", "owner: [a, b]\nmodel:", f"line 2, field 'owner': found ['a', 'b']; allowed: {TEXT}"),
    "long tag": ("model:", f"tags: [{'x' * 101}]\nmodel:", "line 2, field 'tags.0': found ...; allowed: at most 100 characters"),
    "lookback": ("model:", "lookback: -1\nmodel:", "line 2, field 'lookback': found -1; allowed: at least 0"),
    "lookback in words": ("model:", "lookback: 2 days\nmodel:", "line 2, field 'lookback': found '2 days'; allowed: a whole number"),
    "gate in percent": ("model:", "gate: {min_answered: 95}\nmodel:", "line 2, field 'gate.min_answered': found 95; allowed: a share from 0 to 1, such as 0.95 for 95 %"),
    "gate below": ("model:", "gate: {max_invalid: -0.1}\nmodel:", "line 2, field 'gate.max_invalid': found -0.1; allowed: at least 0"),
    "unknown gate": ("model:", "gate: {max_failed: 0.1}\nmodel:", "line 2, field 'gate.max_failed': there is no such field; did you mean 'max_invalid'? allowed: max_invalid, min_answered"),
    "empty budget": ("model:", "budget: {above: fail}\nmodel:", "line 2, field 'budget': found neither per_run nor per_month; give one of the two, or take budget out"),
    "budget of nothing": ("model:", "budget: {per_run: 0}\nmodel:", "line 2, field 'budget.per_run': found 0; allowed: more than 0"),
    "budget in words": ("model:", "budget: {per_month: 500 RUB}\nmodel:", "line 2, field 'budget.per_month': found '500 RUB'; allowed: a number"),
    "currency": ("model:", "budget: {per_run: 5, measure: rub}\nmodel:", "line 2, field 'budget.measure': found 'rub'; allowed: 'units', 'tokens' or 'money'"),
    "long approval": ("model:", "budget: {per_run: 5, approve_within: P7D}\nmodel:", "line 2, field 'budget.approve_within': found 7 days; allowed: at most 6 days"),
    "repair at once": ("model:", "repair: {deadline: 0}\nmodel:", "line 2, field 'repair.deadline': found 0 seconds; allowed: more than 0 seconds"),
    "unknown repair": ("model:", "repair: {max_attempts: 2}\nmodel:", "line 2, field 'repair.max_attempts': there is no such field; allowed: deadline"),
    "no file": ("  path: var/warehouse.duckdb\n", "", "line 8, field 'destination.path': the field is missing, and type duckdb needs it; write it like var/warehouse.duckdb"),
    "file and server": ("  path: var", "  connection: dwh\n  path: var", "line 9, field 'destination.connection': type duckdb has no such field; take it out, or change destination.type"),
    "server and file": ("  path: var", "  type: postgres\n  connection: dwh\n  path: var", "line 11, field 'destination.path': type postgres has no such field; take it out, or change destination.type"),
    "no server": ("  path: var/warehouse.duckdb", "  type: clickhouse", "line 8, field 'destination.connection': the field is missing, and type clickhouse needs it; write it like clickhouse_default"),
    "other database": ("  path: var", "  type: oracle\n  path: var", "line 9, field 'destination.type': found 'oracle'; allowed: 'duckdb', 'postgres', 'clickhouse', 'greenplum' or 'redshift'"),
    "no staging": ("  path: var/warehouse.duckdb", "  type: redshift\n  connection: dwh", "line 8, field 'destination.staging': the field is missing, and type redshift needs it; write it like s3://bucket/staging/"),
    "staging on disk": ("  path: var/warehouse.duckdb", "  type: redshift\n  connection: dwh\n  staging: file:///staging/", "line 11, field 'destination.staging': 'file:///staging/' is not a folder in S3; write it like s3://bucket/staging/"),
    "staging of another": ("  path: var/warehouse.duckdb", "  type: greenplum\n  connection: dwh\n  staging: s3://shop/staging/", "line 11, field 'destination.staging': type greenplum has no such field; take it out, or change destination.type"),
    "table": ("enrichment.photos", "photos", "line 10, field 'destination.table': 'photos' is not of the form schema.table, such as enrichment.photos"),
    "column of DuckDB": ("    price:", "    rowid: {type: integer, description: the row}\n    price:", "line 8, field 'destination': every table in duckdb has a column 'rowid' of its own, and so has the answer; give that field another name"),
    "NUL": ("description: the price", 'description: "the\\0 price"', "line 20, field 'answer.fields.price.description': found 'the\\x00 price', which holds the character NUL; no table can keep it"),
    "NUL in the prompt": ("prompts/photos.md", "prompts/nul.md", "line 11, field 'prompt': 'prompts/nul.md' holds the character NUL; no table can keep it"),
    "remote file": ("var/warehouse.duckdb", "s3://shop/w.duckdb", "line 9, field 'destination.path': found 's3://shop/w.duckdb'; allowed: the path of a DuckDB file on this machine"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(include, old, new, said):
    assert GOOD.count(old) == 1
    assert message(include, GOOD.replace(old, new)) == f"photos.yaml, {said}"


MANIFEST = "manifest: s3://shop/lists/{partition}.csv"
QUERY = "query: SELECT uri FROM photos WHERE day = {partition}\n  allowed_prefixes: [s3://shop/photos/]\n  query_connection: dwh"
QUOTED = "{partition} stands in quotes; take them off, because it is bound as a parameter"
NAMES = "a list of names such as [product], or names with their columns such as {product: product_name}"


def sql(query: str) -> str:
    """Be a source with a query of several lines."""
    return f"{QUERY}\n".replace(QUERY.partition("\n")[0], f"query: {json.dumps(query)}").rstrip()


VARIABLES = f"{MANIFEST}\n  variables: [product]"

#: What stands below `source`, the prompt, and what is said.
SOURCES = {
    "nothing": ("connection: aws", "photos", "line 6, field 'source.query': found none of uri, manifest and query; give one of the three"),
    "two": (f"uri: s3://shop/{{partition}}/\n  {MANIFEST}", "photos", "line 6, field 'source.query': found uri and manifest of uri, manifest and query; give one of the three"),
    "unknown key": (f"{MANIFEST}\n  url_column: photo", "photos", "line 8, field 'source.url_column': there is no such field; did you mean 'uri_column'? allowed: allowed_prefixes, connection, extensions, format, key_column, manifest, partition_format, query, query_connection, query_file, uri, uri_column, variables"),
    "hive in another way": ("uri: s3://shop/year={year}/", "photos", "line 7, field 'source.uri': 's3://shop/year={year}/' has {year}; write it like s3://bucket/photos/{partition}/"),
    "any bucket": ("uri: s3://{partition}/photos/", "photos", "line 7, field 'source.uri': 's3://{partition}/photos/' has its placeholder in the bucket's name, so that images of other buckets could be read too; write it like s3://bucket/photos/{partition}/"),
    "any bucket of a kind": ("uri: s3://shop-{partition:%Y}/{partition}/", "photos", "line 7, field 'source.uri': 's3://shop-{partition:%Y}/{partition}/' has its placeholder in the bucket's name, so that images of other buckets could be read too; write it like s3://bucket/photos/{partition}/"),
    "manifest of any bucket": ("manifest: s3://{partition}/list.csv\n  allowed_prefixes: [s3://shop/photos/]", "photos", "line 7, field 'source.manifest': 's3://{partition}/list.csv' has its placeholder in the bucket's name, so that images of other buckets could be read too; write it like s3://bucket/lists/{partition}.csv"),
    "any folder": ("uri: file:///{partition}/", "photos", "line 7, field 'source.uri': 'file:///{partition}/' has its placeholder in the root folder, so that every file of the machine could be read; write it like file:///folder/photos/{partition}/"),
    "any folder with slashes": ("uri: file:////{partition}/", "photos", "line 7, field 'source.uri': 'file:////{partition}/' has its placeholder in the root folder, so that every file of the machine could be read; write it like file:///folder/photos/{partition}/"),
    "manifest in the root": ("manifest: file:///{partition}.csv", "photos", "line 7, field 'source.manifest': 'file:///{partition}.csv' has its placeholder in the root folder, so that every file of the machine could be read; write it like file:///folder/lists/{partition}.csv"),
    "manifest for all days": ("manifest: s3://shop/all.csv", "photos", "line 7, field 'source.manifest': 's3://shop/all.csv' has no {partition}; write it like s3://bucket/lists/{partition}.csv"),
    "manifest on the web": ("manifest: https://shop/{partition}.csv", "photos", "line 7, field 'source.manifest': 'https://shop/{partition}.csv' is not a place; allowed are file:///folder/, s3://bucket/folder/ or a relative path"),
    "manifest's ending": ("manifest: s3://shop/{partition}.xlsx", "photos", "line 6, field 'source.format': 's3://shop/{partition}.xlsx' has no ending that tells its format: write csv, jsonl or parquet here, or end its name with .csv, .jsonl, .ndjson, .parquet"),
    "manifest's format": (f"{MANIFEST}\n  format: excel", "photos", "line 8, field 'source.format': found 'excel'; allowed: 'csv', 'jsonl' or 'parquet'"),
    "key of a prefix": ("uri: s3://shop/{partition}/\n  key_column: sku", "photos", "line 8, field 'source.key_column': it belongs to a manifest or a query, and this source has none; take it out"),
    "variables of a prefix": ("uri: s3://shop/{partition}/\n  variables: [product]", "product", "line 8, field 'source.variables': it belongs to a manifest or a query, and this source has none; take it out"),
    "format of a query": (f"{QUERY}\n  format: csv", "photos", "line 10, field 'source.format': it belongs to a manifest, and this source has none; take it out"),
    "server of a manifest": (f"{MANIFEST}\n  query_connection: dwh", "photos", "line 8, field 'source.query_connection': it belongs to a query, and this source has none; take it out"),
    "query for all days": (QUERY.replace(" WHERE day = {partition}", ""), "photos", "line 7, field 'source.query': the query has no {partition}; write it like SELECT uri FROM photos WHERE day = {partition}"),
    "quoted partition": (QUERY.replace("{partition}", "'{partition}'"), "photos", f"line 7, field 'source.query': {QUOTED}"),
    "quoted partition after a comment": (sql("SELECT uri -- don't\nFROM photos WHERE day = '{partition}'"), "photos", f"line 7, field 'source.query': {QUOTED}"),
    "quoted partition beside what looks like a comment": (sql("SELECT uri, '--' FROM photos WHERE x = '/*' AND day = '{partition}'"), "photos", f"line 7, field 'source.query': {QUOTED}"),
    "quoted name": (sql('SELECT uri FROM photos WHERE "{partition}" = 1'), "photos", f"line 7, field 'source.query': {QUOTED}"),
    "commented partition": (sql("SELECT uri FROM photos\n-- WHERE day = {partition}"), "photos", "line 7, field 'source.query': {partition} stands in a comment only; write it like SELECT uri FROM photos WHERE day = {partition}"),
    "nobody answers": (QUERY.replace("\n  query_connection: dwh", ""), "photos", "line 6, field 'source.query_file': a query needs query_connection, an Airflow connection, or query_file, a DuckDB file"),
    "two answer": (f"{QUERY}\n  query_file: c.duckdb", "photos", "line 10, field 'source.query_file': query_connection answers the query already; take one of the two out"),
    "query into anywhere": (QUERY.replace("allowed_prefixes: [s3://shop/photos/]", "key_column: sku"), "photos", "line 6, field 'source.allowed_prefixes': a query needs it: say where its images may lie, such as [s3://bucket/photos/]"),
    "prefix without an end": (QUERY.replace("photos/]", "photos]"), "photos", "line 8, field 'source.allowed_prefixes': 's3://shop/photos' is not a folder; write it with a / at its end"),
    "prefix on the web": (QUERY.replace("s3://shop/photos/", "http://shop/"), "photos", "line 8, field 'source.allowed_prefixes': 'http://shop/' is not a place; allowed are file:///folder/, s3://bucket/folder/ or a relative path"),
    "prefixes of two kinds": (QUERY.replace("[s3", "[file:///a/, s3"), "photos", "line 8, field 'source.allowed_prefixes': some are on file:// and some on s3://; the images of one source lie on one of the two"),
    "variable's name": (f"{MANIFEST}\n  variables: [Product]", "photos", "line 8, field 'source.variables': 'Product' is not a variable; allowed: lower-case letters, digits and _, a letter first"),
    "variable twice": (f"{MANIFEST}\n  variables: [product, product]", "product", "line 8, field 'source.variables': ['product', 'product'] holds one name twice"),
    "variables as a text": (f"{MANIFEST}\n  variables: product", "product", f"line 8, field 'source.variables': found 'product'; allowed: {NAMES}"),
    "variables in two lists": (f"{MANIFEST}\n  variables: [[product]]", "product", f"line 8, field 'source.variables': found [['product']]; allowed: {NAMES}"),
    "variables with their columns in a list": (f"{MANIFEST}\n  variables:\n    - product: title", "product", f"line 8, field 'source.variables': found [{{'product': 'title'}}]; allowed: {NAMES}"),
    "variable that is a number": (f"{MANIFEST}\n  variables: [product, 5]", "product", f"line 8, field 'source.variables': found ['product', 5]; allowed: {NAMES}"),
    "variable without a column": (f"{MANIFEST}\n  variables: {{product: }}", "product", f"line 8, field 'source.variables.product': found nothing; allowed: {TEXT}"),
    "variable that is not used": (VARIABLES, "photos", "line 12, field 'prompt': the prompt does not use {product} of source.variables; write it there, or take it out"),
    "placeholder that is no variable": (VARIABLES, "braces", "line 12, field 'prompt': the prompt holds {colour}, which source.variables does not declare; allowed: product; write it without the braces if it is no variable"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "prompt", "said"), SOURCES.values(), ids=SOURCES)
def test_a_mistake_about_the_source_is_named(include, source, prompt, said):
    text = GOOD.replace("uri: s3://shop/photos/{partition}/", source).replace("photos.md", f"{prompt}.md")
    assert message(include, text) == f"photos.yaml, {said}"


DAILY, HOURLY = "0 0 * * *", "0 * * * *"

#: The schedule, what stands below `source`, and what is said of partitions that it mixes.
LAYOUTS = {
    "months": (DAILY, "uri: s3://shop/{partition:%Y}/{partition:%d}/", "line 7, field 'source.uri': 's3://shop/{partition:%Y}/{partition:%d}/' mixes partitions: 2025-01-01 and 2025-02-01 are both at 's3://shop/2025/01/'; write it like s3://shop/{partition}/ or s3://shop/{partition:%Y/%m/%d}/"),
    "days of a week": (DAILY, "uri: s3://shop/a/{partition:%Y}/w{partition:%V}/", "line 7, field 'source.uri': 's3://shop/a/{partition:%Y}/w{partition:%V}/' mixes partitions: 2025-01-01 and 2025-01-02 are both at 's3://shop/a/2025/w01/'; write it like s3://shop/a/{partition}/ or s3://shop/a/{partition:%Y/%m/%d}/"),
    "weeks of a year that is not theirs": ("0 0 * * 1", "uri: s3://shop/{partition:%Y}/{partition:%V}/", "line 7, field 'source.uri': 's3://shop/{partition:%Y}/{partition:%V}/' mixes partitions: 2029-01-01 and 2029-12-31 are both at 's3://shop/2029/01/'; write it like s3://shop/{partition}/ or s3://shop/{partition:%Y/%m/%d}/"),
    "days that begin another": (DAILY, "uri: s3://shop/{partition:%Y/%m}-{partition:%-d}", "line 7, field 'source.uri': 's3://shop/{partition:%Y/%m}-{partition:%-d}' mixes partitions: 's3://shop/2025/01-10', that of 2025-01-10, begins with 's3://shop/2025/01-1', that of 2025-01-01; write it like s3://shop/{partition}/ or s3://shop/{partition:%Y/%m/%d}/"),
    "days of the year that begin another": (DAILY, "uri: s3://shop/{partition:%Y/%-j}", "line 7, field 'source.uri': 's3://shop/{partition:%Y/%-j}' mixes partitions: 's3://shop/2025/10', that of 2025-01-10, begins with 's3://shop/2025/1', that of 2025-01-01; write it like s3://shop/{partition}/ or s3://shop/{partition:%Y/%m/%d}/"),
    "months that begin another": ("@monthly", "uri: s3://shop/{partition:%Y}/{partition:%-m}\n  partition_format: '%Y-%m'", "line 7, field 'source.uri': 's3://shop/{partition:%Y}/{partition:%-m}' mixes partitions: 's3://shop/2025/10', that of 2025-10, begins with 's3://shop/2025/1', that of 2025-01; write it like s3://shop/{partition}/ or s3://shop/{partition:%Y/%m}/"),
    "digits without a sign between them": (DAILY, "uri: s3://shop/{partition:%Y}/{partition:%-m}{partition:%-d}/", "line 7, field 'source.uri': 's3://shop/{partition:%Y}/{partition:%-m}{partition:%-d}/' mixes partitions: 2025-01-11 and 2025-11-01 are both at 's3://shop/2025/111/'; write it like s3://shop/{partition}/ or s3://shop/{partition:%Y/%m/%d}/"),
    "hours of the clock": (HOURLY, "uri: s3://shop/{partition:%Y-%m-%d}/{partition:%I}/\n  partition_format: '%Y-%m-%dT%H'", "line 7, field 'source.uri': 's3://shop/{partition:%Y-%m-%d}/{partition:%I}/' mixes partitions: 2026-01-01T00 and 2026-01-01T12 are both at 's3://shop/2026-01-01/12/'; write it like s3://shop/{partition}/ or s3://shop/{partition:%Y/%m/%d/%H}/"),
    "hours that begin another": (HOURLY, "uri: s3://shop/{partition:%Y-%m-%d}/{partition:%-H}\n  partition_format: '%Y-%m-%dT%H'", "line 7, field 'source.uri': 's3://shop/{partition:%Y-%m-%d}/{partition:%-H}' mixes partitions: 's3://shop/2026-01-01/10', that of 2026-01-01T10, begins with 's3://shop/2026-01-01/1', that of 2026-01-01T01; write it like s3://shop/{partition}/ or s3://shop/{partition:%Y/%m/%d/%H}/"),
    "keys of hours": (HOURLY, "query: SELECT uri FROM photos WHERE hour = {partition}\n  allowed_prefixes: [s3://shop/photos/]\n  query_connection: dwh\n  partition_format: '%Y-%m-%d %I'", "line 10, field 'source.partition_format': '%Y-%m-%d %I' mixes partitions: what begins at 00:00 and at 12:00 is '2025-01-01 12' both times; write it like '%Y-%m-%dT%H'"),
    "keys of minutes": ("*/15 * * * *", "uri: s3://shop/{partition}/\n  partition_format: '%Y-%m-%d-%M'", "line 8, field 'source.partition_format': '%Y-%m-%d-%M' mixes partitions: what begins at 00:00 and at 01:00 is '2025-01-01-00' both times; write it like '%Y-%m-%dT%H-%M'"),
    "lists": (DAILY, "manifest: s3://shop/{partition:%Y}/{partition:%B}/list.csv", "line 7, field 'source.manifest': 's3://shop/{partition:%Y}/{partition:%B}/list.csv' mixes partitions: 2025-01-01 and 2025-01-02 are both at 's3://shop/2025/January/list.csv'; write it like s3://shop/{partition}/list.csv or s3://shop/{partition:%Y/%m/%d}/list.csv"),
}  # fmt: skip


@pytest.mark.parametrize(("schedule", "source", "said"), LAYOUTS.values(), ids=LAYOUTS)
def test_partitions_that_a_source_mixes_are_named_and_what_is_advised_is_taken(include, schedule, source, said):
    text = GOOD.replace(DAILY, schedule)
    told = message(include, text.replace("uri: s3://shop/photos/{partition}/", source))
    assert told == f"photos.yaml, {said}"
    wrong, advised = re.search(r": '([^']*)' mixes .* write it like (.*)", told).groups()
    for better in advised.split(" or "):
        load(include, text.replace("uri: s3://shop/photos/{partition}/", source.replace(wrong, better.strip("'"))))


RIGHT = [
    MANIFEST,
    QUERY,
    f"{QUERY}\n  partition_format: '%Y-%m'",
    sql("-- don't\nSELECT uri FROM photos WHERE day = {partition} -- it's the day"),
    sql(
        "SELECT uri /* it's\nof one day */ FROM photos /* \" */ WHERE day = {partition} -- \"\nAND name <> 'it''s -- old'"
    ),
    sql("SELECT '/*' AS uri FROM photos WHERE x = '--' AND day = {partition} AND y = '*/'"),
    sql("SELECT uri FROM photos WHERE day = {partition} -- one {partition}"),
]


@pytest.mark.parametrize("source", RIGHT)
def test_sources_that_are_right_are_taken(include, source):
    text = GOOD.replace("uri: s3://shop/photos/{partition}/", source)
    declaration = load(include, text)
    assert declaration.source.prefixes()[0].startswith("s3://shop/")
    assert Declaration.model_validate(declaration.model_dump(mode="json")) == declaration  # as shards keep it


ENUM = "type: enum\n      values: [photo, drawing]"

#: The same for the fields of the answer: what is written instead of the first field, and what is said.
ANSWERS = {
    "name": ("    Kind:", ENUM, "line 14, field 'answer.fields.Kind.name': 'Kind' is not a field name; allowed: lower-case letters, digits and _, a letter first"),
    "Russian name": ("    вид:", ENUM, "line 14, field 'answer.fields.вид.name': 'вид' is not a field name; allowed: lower-case letters, digits and _, a letter first"),
    "reserved": ("    status:", ENUM, "line 14, field 'answer.fields.status.name': 'status' is a column of every table already; choose another name"),
    "name that is no text": ("    yes:", ENUM, "line 14, field 'answer.fields.yes': the name of a field has to be a text: put it in quotes"),
    "name twice": ("    price:", ENUM, "line 18, field 'answer.fields.price': the field is there twice"),
    "name within": ("    kind:", f"name: other\n      {ENUM}", "line 12, field 'answer': field 'kind': its name is the key, take 'name' out"),
    "list of nothing": ("    kind:", "type: list", "line 14, field 'answer.fields.kind': 'items' belong to type 'list', and a list needs them, such as string"),
    "list of lists": ("    kind:", "type: list\n      items: list", "line 16, field 'answer.fields.kind.items': found 'list'; allowed: 'string', 'integer', 'number', 'boolean', 'date' or 'enum'"),
    "bounds of a list of texts": ("    kind:", "type: list\n      items: string\n      minimum: 1", "line 14, field 'answer.fields.kind': 'minimum' and 'maximum' belong to the types integer and number"),
    "object of nothing": ("    kind:", "type: object", "line 14, field 'answer.fields.kind': 'fields' belong to type 'object', and an object needs them, each by its name"),
    "mistake in an object": ("    kind:", "type: object\n      fields:\n        size: {type: text, description: d}", "line 17, field 'answer.fields.kind.fields.size.type': found 'text'; allowed: 'string', 'integer', 'number', 'boolean', 'date', 'enum', 'list' or 'object'"),
    "unknown key in an object": ("    kind:", "type: object\n      fields:\n        size: {type: string, description: d, unlit: cm}", "line 17, field 'answer.fields.kind.fields.size.unlit': there is no such field; did you mean 'unit'? allowed: description, fields, items, maximum, minimum, name, required, store, type, unit, values"),
    "column of an object is taken": ("    image:", "type: object\n      fields:\n        width: {type: integer, description: d}", "line 12, field 'answer': the column 'image_width' is a column of every table already; choose another name for the field"),
    "column of an object twice": ("    kind_size: {type: string, description: d}\n    kind:", "type: object\n      fields:\n        size: {type: integer, description: d}", "line 12, field 'answer': the column 'kind_size' is declared twice; choose another name for the field"),
    "column of an object too long": ("    kind:", f"type: object\n      fields:\n        {'s' * 59}: {{type: integer, description: d}}", f"line 12, field 'answer': the column 'kind_{'s' * 59}' is longer than 63 letters; choose another name for the field"),
    "JSON of a text": ("    kind:", "type: string\n      store: json", "line 14, field 'answer.fields.kind': 'store: json' belongs to type 'object', which it keeps in one column; take it out"),
    "JSON in JSON": ("    kind:", "type: object\n      store: json\n      fields: {a: {type: object, description: d, fields: {b: {type: object, description: d, store: json, fields: {c: {type: date, description: d}}}}}}", "line 14, field 'answer.fields.kind': an object in it has 'store: json' too, and is in the JSON of this one already; take it out"),
    "stored otherwise": ("    kind:", "type: object\n      store: jsonb\n      fields: {a: {type: date, description: d}}", "line 16, field 'answer.fields.kind.store': found 'jsonb'; allowed: 'columns' or 'json'"),
    "type": ("    kind:", "type: text", "line 15, field 'answer.fields.kind.type': found 'text'; allowed: 'string', 'integer', 'number', 'boolean', 'date', 'enum', 'list' or 'object'"),
    "enum without values": ("    kind:", "type: enum", "line 14, field 'answer.fields.kind': 'values' belong to type 'enum', and an enum needs them, such as [low, high]"),
    "values without enum": ("    kind:", "type: string\n      values: [a]", "line 14, field 'answer.fields.kind': 'values' belong to type 'enum', and an enum needs them, such as [low, high]"),
    "value twice": ("    kind:", "type: enum\n      values: [photo, Photo]", "line 14, field 'answer.fields.kind': 'values' hold one value twice; case and outer spaces do not count"),
    "empty value": ("    kind:", "type: enum\n      values: [photo, '']", "line 16, field 'answer.fields.kind.values.1': found ''; allowed: at least 1 character"),
    "bounds of a text": ("    kind:", "type: string\n      minimum: 1", "line 14, field 'answer.fields.kind': 'minimum' and 'maximum' belong to the types integer and number"),
    "bounds crossed": ("    kind:", "type: number\n      minimum: 2\n      maximum: 1", "line 14, field 'answer.fields.kind': 'minimum' is above 'maximum'"),
    "endless bound": ("    kind:", "type: number\n      maximum: .inf", "line 16, field 'answer.fields.kind.maximum': found inf; allowed: a number"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "said"), ANSWERS.values(), ids=ANSWERS)
def test_a_mistake_in_a_field_of_the_answer_is_named(include, name, kind, said):
    text = GOOD.replace("    kind:", name).replace(ENUM, kind)
    assert message(include, text) == f"photos.yaml, {said}"


PROMPTS = {
    "no such file": ("prompts/photo.md", "there is no file 'prompts/photo.md' in the include folder; did you mean 'prompts/photos.md'? allowed: prompts/braces.md, prompts/empty.md, prompts/latin.md, prompts/nul.md, prompts/photos.md, prompts/product.md"),
    "a folder": ("prompts", "'prompts' cannot be read as UTF-8 text: IsADirectoryError"),
    "empty": ("prompts/empty.md", "'prompts/empty.md' is empty; write there what the model is asked"),
    "not UTF-8": ("prompts/latin.md", "'prompts/latin.md' cannot be read as UTF-8 text: UnicodeDecodeError"),
    "placeholder": ("prompts/braces.md", "the prompt holds {colour}, but items have no variables: write it without the braces"),
    "outside": ("../secrets.txt", "'../secrets.txt' lies outside of the include folder"),
    "elsewhere": ("/etc/passwd", "'/etc/passwd' lies outside of the include folder"),
    "no name": ("5", "name the prompt's file, such as prompts/photo_quality.md"),
    "strange name": ('"a\\0b"', "found 'a\\x00b', which holds the character NUL; no table can keep it"),
}  # fmt: skip


@pytest.mark.parametrize(("prompt", "said"), PROMPTS.values(), ids=PROMPTS)
def test_a_mistake_about_the_prompt_is_named(include, prompt, said):
    assert (
        message(include, GOOD.replace("prompts/photos.md", prompt)) == f"photos.yaml, line 11, field 'prompt': {said}"
    )


def test_a_missing_prompt_is_named(include):
    said = "photos.yaml, line 1, field 'prompt': name the prompt's file, such as prompts/photo_quality.md"
    assert message(include, GOOD.replace("prompt: prompts/photos.md\n", "")) == said


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(include):
    text = GOOD.replace("gemma-3-12b-it", "gema-3-12b").replace("      description: the price\n", "") + "extra: 1\n"
    lines = message(include, text).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "photos.yaml, line 2, field 'model'",
        "photos.yaml, line 18, field 'answer.fields.price.description'",
        "photos.yaml, line 20, field 'extra'",
    ]


@pytest.mark.parametrize("fields", ["{}", "[]"])
def test_an_answer_without_fields_is_refused(include, fields):
    text = f"{GOOD[: GOOD.index('answer:')]}answer:\n  fields: {fields}\n"
    said = "photos.yaml, line 12, field 'answer': an answer has one field or more, each by its name below 'fields'"
    assert message(include, text) == said


def test_not_more_mistakes_are_told_than_a_person_reads(include):
    lines = message(include, GOOD + "".join(f"extra{number}: 1\n" for number in range(30))).splitlines()
    assert (len(lines), lines[-1]) == (11, "and 20 more")


def test_a_field_that_holds_a_page_is_shown_shortly(include):
    assert len(message(include, GOOD.replace("Europe/Moscow", "[" + "word, " * 1000 + "word]"))) < 250
