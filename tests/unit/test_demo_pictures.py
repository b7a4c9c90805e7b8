import io
import os
from pathlib import Path

import pillow_heif
import pytest
from PIL import ExifTags, Image

from vision_batch.demo.pictures import draw_pictures, holds_drawn_only, place_own_pictures
from vision_batch.emulator.measures import measure
from vision_batch.enrichment.places import IMAGE_EXTENSIONS
from vision_batch.errors import InputError

DAYS = [f"2026-11-{day}" for day in range(16, 23)]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    bucket = tmp_path_factory.mktemp("drawn")
    draw_pictures(bucket, partitions=DAYS)
    return bucket


@pytest.fixture
def images(tmp_path) -> Path:
    """A person's folder: some of everything."""
    images = tmp_path / "мои снимки"
    images.mkdir()
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(images / f"{number}.jpg")
    (images / "2025").mkdir()
    Image.new("RGB", (8, 8), "blue").save(images / "2025" / "0.jpg")
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), "green")).save(images / "IMG_1.HEIC")
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (images / "notes.txt").write_text("not a picture")
    (images / ".hidden.jpg").write_bytes(b"hidden")
    (images / ".cache").mkdir()
    (images / ".cache" / "thumb.jpg").write_bytes(b"hidden too")
    return images


def test_the_same_partitions_give_the_same_bytes(drawn, tmp_path):
    draw_pictures(tmp_path, partitions=DAYS[:2])
    again = content(tmp_path)
    assert again
    assert {name: body for name, body in content(drawn).items() if name in again} == again


def test_every_day_has_six_pictures_and_no_two_are_alike(drawn):
    pictures = content(drawn)
    assert {day: len(list((drawn / day).iterdir())) for day in DAYS} == dict.fromkeys(DAYS, 6)
    assert len(set(pictures.values())) == len(pictures) == 42


def test_there_is_day_and_night_sharp_and_blurred_landscape_and_portrait(drawn):
    measures = {path.stem: measure(path.read_bytes()) for path in (drawn / DAYS[1]).iterdir()}
    assert {name: found.time_of_day for name, found in measures.items() if found.time_of_day == "night"} == {
        "street-at-night": "night"
    }
    assert measures["boxes-blurred"].focus == "blurred"
    assert {found.focus for name, found in measures.items() if name != "boxes-blurred"} == {"sharp"}
    assert measures["price-tag"].kind == "drawing"
    assert measures["cup-by-day"].kind == "photo"
    with Image.open(drawn / DAYS[1] / "bottle-upright.jpg") as phone:
        assert phone.width > phone.height
        assert phone.getexif()[ExifTags.Base.Orientation] == 6


def test_sizes_differ_and_one_is_big(drawn):
    sizes = {Image.open(io.BytesIO(body)).size for body in content(drawn).values()}
    assert len(sizes) > 8
    assert max(sizes) == (4000, 3000)
    assert min(min(size) for size in sizes) >= 400


@pytest.mark.parametrize(("per_partition", "names"), [(1, 1), (3, 3), (8, 8)])
def test_any_number_can_be_drawn(tmp_path, per_partition, names):
    draw_pictures(tmp_path, partitions=["a"], per_partition=per_partition)
    assert len(set(content(tmp_path).values())) == names


def test_drawing_again_writes_nothing_and_heals_what_is_missing(tmp_path):
    draw_pictures(tmp_path, partitions=["a"], per_partition=2)
    before, lost = times(tmp_path), content(tmp_path)["a/price-tag.png"]
    draw_pictures(tmp_path, partitions=["a"], per_partition=2)
    assert times(tmp_path) == before
    (tmp_path / "a" / "price-tag.png").unlink()
    draw_pictures(tmp_path, partitions=["a"], per_partition=2)
    assert content(tmp_path)["a/price-tag.png"] == lost


def test_own_pictures_are_copied_whatever_they_hold_and_nothing_else_is(images, tmp_path):
    bucket = tmp_path / "bucket"
    assert place_own_pictures(images, bucket, DAYS) == 23
    placed = {name.split("/", 1)[1]: body for name, body in content(bucket).items()}
    wanted = {name: body for name, body in content(images).items() if not name.startswith((".", "notes"))}
    assert placed == wanted
    assert "2025/0.jpg" in placed


def test_own_pictures_lie_in_many_partitions(images, tmp_path):
    place_own_pictures(images, tmp_path / "bucket", DAYS)
    counts = [len(list(day.rglob("*.*"))) for day in (tmp_path / "bucket").iterdir()]
    assert len(counts) >= 6
    assert max(counts) <= 7


def test_a_second_call_changes_nothing(images, tmp_path):
    place_own_pictures(images, tmp_path / "bucket", DAYS)
    before = times(tmp_path / "bucket")
    os.utime(images / "3.jpg")
    place_own_pictures(images, tmp_path / "bucket", DAYS)
    assert times(tmp_path / "bucket") == before


def test_a_picture_stays_in_its_partition_when_others_come_and_go(images, tmp_path):
    bucket = tmp_path / "bucket"
    place_own_pictures(images, bucket, DAYS)
    before = times(bucket)
    (images / "0000.jpg").write_bytes(b"new")
    (images / "1.jpg").unlink()
    (images / "2.jpg").write_bytes(b"another content")
    place_own_pictures(images, bucket, DAYS)
    after = times(bucket)
    assert len(after) == len(before) + 1
    changed = {Path(name).name for name in before if after[name] != before[name]}
    assert changed == {"2.jpg"}


@pytest.mark.parametrize("ending", IMAGE_EXTENSIONS)
def test_every_ending_that_a_source_lists_is_taken_in_any_case(tmp_path, ending):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f"a{ending.upper()}").write_bytes(b"x")
    assert place_own_pictures(tmp_path / "images", tmp_path / "bucket", DAYS) == 1


def test_a_folder_without_pictures_is_an_error_that_names_the_endings(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "readme.txt").write_text("x")
    with pytest.raises(InputError, match=r"images holds no picture.*\.jpg.*\.heic"):
        place_own_pictures(tmp_path / "images", tmp_path / "bucket", DAYS)
    assert not (tmp_path / "bucket").exists()


@pytest.mark.parametrize("inside", ["bucket", ".", "bucket/2026-11-16"])
def test_the_bucket_itself_is_refused(tmp_path, inside):
    (tmp_path / "bucket" / "2026-11-16").mkdir(parents=True)
    (tmp_path / "bucket" / "2026-11-16" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="within each other"):
        place_own_pictures(tmp_path / inside, tmp_path / "bucket", DAYS)


def test_own_pictures_keep_drawn_ones_out_and_drawn_ones_stay(images, tmp_path):
    bucket = tmp_path / "bucket"
    assert holds_drawn_only(bucket)
    draw_pictures(bucket, partitions=DAYS[:1], per_partition=8)
    assert holds_drawn_only(bucket)
    before = content(bucket)
    place_own_pictures(images, bucket, DAYS)
    assert not holds_drawn_only(bucket)
    assert before.items() <= content(bucket).items()


def test_the_font_has_the_letters_of_a_russian_price_tag():
    from vision_batch.demo.scenes import _font  # noqa: PLC0415 - only here

    missing = _font(40).getmask("\U000f0000")
    for letter in "АБЁЩЪЫЮЯ₽№":
        assert bytes(_font(40).getmask(letter)) != bytes(missing), letter


def test_pictures_hold_no_more_metadata_than_the_orientation(drawn):
    for name, body in content(drawn).items():
        with Image.open(io.BytesIO(body)) as picture:
            assert set(picture.getexif()) <= {ExifTags.Base.Orientation}, name
