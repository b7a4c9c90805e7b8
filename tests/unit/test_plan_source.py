"""Which objects of a partition are images to ask about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vision_batch.enrichment.places import Source
from vision_batch.enrichment.source import list_items
from vision_batch.errors import InputError
from vision_batch.store import open_store

DAY = "2026-11-22"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / DAY / "deep").mkdir(parents=True)
    return tmp_path


def listed(photos: Path, **settings: object) -> list[str]:
    source = Source.model_validate({"uri": f"file://{photos}/{{partition}}/", **settings})
    items = list(list_items(open_store(source.uri), source, DAY))
    assert {item.partition for item in items} <= {DAY}
    assert [item.item_key for item in items] == [item.uri for item in items]
    return [item.uri.removeprefix(f"file://{photos}/{DAY}/") for item in items]


def test_images_are_known_by_their_endings_and_sorted(photos):
    for name in ("b.JPG", "a.jpeg", "deep/ц в {e}te%20.png", "notes.txt", "jpg", "c.jpg.part"):
        (photos / DAY / name).write_bytes(b"x")
    (photos / "2026-11-23").mkdir()
    (photos / "2026-11-23" / "other day.jpg").write_bytes(b"x")
    assert listed(photos) == ["a.jpeg", "b.JPG", "deep/ц в {e}te%20.png"]
    assert listed(photos, extensions=[".TXT"]) == ["notes.txt"]


def test_a_partition_without_images_is_empty(photos):
    assert listed(photos) == []
    assert listed(photos / "nowhere") == []


def test_an_overwritten_image_is_another_version(photos):
    path = photos / DAY / "a.jpg"
    source = Source(uri=f"file://{photos}/{{partition}}/")
    seen = set()
    for number, body in enumerate((b"one", b"two", b"three")):
        path.write_bytes(body)
        os.utime(path, (number, number))
        seen |= {item.input_id for item in list_items(open_store(source.uri), source, DAY)}
    assert len(seen) == 3


def test_a_name_that_no_table_could_hold_is_refused_by_name(photos):
    (photos / DAY / "good.jpg").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(photos / DAY) + b"/\xff.jpg")).write_bytes(b"x")
    with pytest.raises(InputError, match=r"/2026-11-22/\\udcff.jpg' is not UTF-8; rename the file"):
        listed(photos)
