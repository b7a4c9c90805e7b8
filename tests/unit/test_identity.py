"""Keys that paid work is known by. If a golden value here changes, every image is asked and paid for again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from vision_batch.enrichment.answer import AnswerSchema
from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.identity import SHARD_KEY_DIGITS, input_id, question_key, request_key, shard_key

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIELDS = {
    "kind": {"type": "enum", "values": ["photo", "рисунок"], "description": "что это"},
    "price": {"type": "number", "unit": "руб.", "minimum": 0, "maximum": 1000, "description": "цена", "required": True},
}
DECLARATION = Declaration.model_validate(
    {
        "name": "photos",
        "model": "gemma-3-12b-it",
        "work_folder": "s3://work/",
        "source": {"uri": "s3://shop/{partition}/"},
        "prompt": "Что на фото?",
        "language": "ru",
        "answer": {"fields": FIELDS},
        "destination": {"path": "/data/w.duckdb", "table": "enrichment.photos"},
    }
)


def changed(**changes: object) -> Declaration:
    return Declaration.model_validate(DECLARATION.model_dump(mode="json") | changes)


def test_keys_never_change_from_version_to_version():
    assert DECLARATION.question_key() == "a19a87bcea43f235cae7680e683d7d2239f078a27eee249f9f000e3c33a39017"
    assert (
        question_key(prompt="p", schema={"a": 1}, model="m/latest", options={}, preprocessing=1, revision=1)
        == "dfc3754b45fbd9debc5552e617d56d515161da561b32d7109e43d051456e93fa"
    )
    assert (
        request_key("q", "abc", {"b": "2", "a": "1"})
        == "b693554c3107f0b779a3566e1e83112d6e3f1c615782756b793e1bdb7c3418f4"
    )
    assert (
        input_id(etag='"e"', size_bytes=1, modified_at=NOON, variables={})
        == "568782c736508f0463c6653055cc47ebcaf350b8a1f8073bb3b91ac7ef3fcd27"
    )
    assert (
        input_id(etag=None, size_bytes=1, modified_at=NOON, variables={"a": "ж"})
        == "ebd4e8746da3d6d0ff65cae369660f81f707db36af36a6500384defbccf8a818"
    )
    assert (
        shard_key("photos", "duckdb:/w:e.p", "q", [("s3://b/ж", "i", 1), ("s3://a", "j", 2)]) == "a676e22c4b3638a3b397"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "Что на снимке?"},
        {"language": "en"},
        {"model": "gemma-3-27b-it"},
        {"branch": "rc"},
        {"options": {"temperature": 0.1}},
        {"options": {"max_tokens": 301}},
        {"revision": 2},
        {"answer": {"fields": {**FIELDS, "kind": {**FIELDS["kind"], "description": "что это?"}}}},
        {"answer": {"fields": {**FIELDS, "kind": {**FIELDS["kind"], "values": ["рисунок", "photo"]}}}},
        {"answer": {"fields": {**FIELDS, "price": {**FIELDS["price"], "required": False}}}},
        {"answer": {"fields": {**FIELDS, "price": {**FIELDS["price"], "maximum": 1001}}}},
        {"answer": {"fields": {**FIELDS, "more": {"type": "string", "description": "d"}}}},
        {"answer": {"fields": dict(reversed(FIELDS.items()))}},
    ],
)
def test_another_question_has_another_key(changes):
    assert changed(**changes).question_key() != DECLARATION.question_key()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other", "description": "d", "owner": "o", "tags": ["t"]},
        {"schedule": None, "timezone": "Europe/Moscow", "start_date": "2024-01-01"},
        {"work_folder": "s3://other/", "source": {"uri": "s3://other/{partition}/"}, "connection": "other"},
        {"destination": {"path": "/other.duckdb", "table": "other.photos"}},
        {"limits": {"max_rows_per_shard": 7}},
        {"marker": False, "own": False},
        {"prompt": "\n Что на фото? \n"},
        {"options": {"temperature": 0, "max_tokens": 300}},
    ],
)
def test_what_is_not_part_of_the_question_leaves_its_key(changes):
    assert changed(**changes).question_key() == DECLARATION.question_key()


def test_a_key_of_the_schema_that_a_later_version_adds_changes_nothing():
    """Only what differs from its default is part of the key."""
    dumped = AnswerSchema.model_validate({"fields": FIELDS}).model_dump(mode="json", exclude_defaults=True)
    assert dumped["fields"][0] == {"name": "kind", **FIELDS["kind"]}


def test_a_version_is_known_by_its_etag_else_by_size_and_time():
    def version(etag: str | None, size: int, when: datetime, **variables: str) -> str:
        return input_id(etag=etag, size_bytes=size, modified_at=when, variables=variables)

    moscow = NOON.astimezone(timezone(timedelta(hours=3)))
    assert version("e", 1, NOON) == version("e", 2, NOON + timedelta(1))
    assert version(None, 1, NOON) == version(None, 1, moscow)
    different = [version("e", 1, NOON), version("f", 1, NOON), version(None, 1, NOON), version(None, 2, NOON)]
    different += [version(None, 1, NOON + timedelta(microseconds=1)), version("e", 1, NOON, a="1")]
    assert len(set(different)) == len(different)


def test_a_dataset_name_has_room_for_the_longest_shard():
    assert len("vb-123456-" + "a" * 32 + "-" + "f" * SHARD_KEY_DIGITS) <= 63
