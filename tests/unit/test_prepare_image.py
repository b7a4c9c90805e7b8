import io
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageColor, ImageStat
from PIL.PngImagePlugin import PngInfo

from vision_batch.errors import ImageRejected, InputError
from vision_batch.images.budget import prompt_tokens
from vision_batch.images.opening import ImageLimits
from vision_batch.images.prepare import prepare_image
from vision_batch.models import MODELS, get_model

QWEN = get_model("qwen2-vl-7b-instruct")
CORNERS = ("red", "lime", "blue", "yellow")
TURNED_BACK = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF")


def prepare(data: bytes, budget_tokens: int = 3000, model=QWEN, **options):
    return prepare_image(data, model=model, budget_tokens=budget_tokens, **options)


def pixels(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def saved(image: Image.Image, name: str, **options) -> bytes:
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def quarters(width: int = 160, height: int = 120, mode: str = "RGB") -> Image.Image:
    """A picture whose four quarters differ, so that every turn shows."""
    image = Image.new("RGB", (2, 2))
    image.putdata([ImageColor.getrgb(name) for name in CORNERS])
    return image.resize((width, height), Image.Resampling.NEAREST).convert(mode)


def photo(width: int = 320, height: int = 240) -> Image.Image:
    """A picture that no lossless format makes small."""
    return Image.frombytes("RGB", (width, height), Random(1).randbytes(3 * width * height))


def oriented(orientation: int, name: str) -> bytes:
    stored = quarters()
    if (turn := TURNED_BACK[orientation]) is not None:
        stored = stored.transpose(turn)
    if name == "TIFF":
        return saved(stored, name, tiffinfo={ExifTags.Base.Orientation: orientation})
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    # In bytes: pillow-heif writes the turn that HEIC readers go by only then.
    return saved(stored, name, exif=exif.tobytes())


def close(first: Image.Image, second: Image.Image, tolerance: float = 12) -> bool:
    difference = ImageChops.difference(first.convert("RGB"), second.convert("RGB"))
    return first.size == second.size and max(ImageStat.Stat(difference).mean) <= tolerance


@pytest.mark.parametrize("orientation", TURNED_BACK)
@pytest.mark.parametrize("name", FORMATS)
def test_every_orientation_of_every_format_is_sent_upright(name, orientation):
    made = prepare(oriented(orientation, name))
    assert (made.source_width, made.source_height) == (made.width, made.height) == (160, 120)
    assert close(pixels(made.data), quarters())
    assert not pixels(made.data).getexif()


@pytest.mark.parametrize("orientation", TURNED_BACK)
def test_orientation_survives_scaling_down(orientation):
    made = prepare(oriented(orientation, "JPEG"), 14)
    assert (made.width, made.height) == (112, 84)
    assert close(pixels(made.data), quarters(made.width, made.height), 20)


@pytest.mark.parametrize("orientation", [0, 9, 70])
def test_an_orientation_that_does_not_exist_is_no_orientation(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    made = prepare(saved(quarters(), "JPEG", exif=exif))
    assert close(pixels(made.data), quarters())


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("P", "GIF"), ("RGBA", "PNG"),
        ("LA", "PNG"), ("RGBA", "WEBP"), ("RGB", "WEBP"), ("RGBA", "AVIF"), ("RGB", "BMP"), ("L", "BMP"), ("P", "BMP"),
        ("RGBA", "TIFF"), ("CMYK", "TIFF"), ("LAB", "TIFF"), ("L", "TIFF"), ("RGBA", "HEIF"), ("L", "HEIF"),
    ],
)  # fmt: skip
def test_every_mode_becomes_eight_bit_gray_or_rgb_of_the_same_look(mode, name):
    source = quarters()
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        stored = ImageCms.profileToProfile(source, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    else:
        stored = source.convert(mode)
    made = prepare(saved(stored, name))
    sent = pixels(made.data)
    assert sent.mode in {"L", "RGB"}
    assert sent.format in {"JPEG", "PNG"}
    assert made.media_type == f"image/{sent.format.lower()}"
    assert close(sent, source.convert(mode) if mode in {"L", "1", "LA"} else source)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))


def png(header: tuple[int, int, int, int], rows: bytes, *extra: bytes) -> bytes:
    """A PNG by hand: width, height, bits and colour type, then each row with its filter byte."""
    width, height, bits, colour = header
    first = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", first, *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")))


def test_sixteen_bit_gray_png_is_scaled_and_not_cut_off():
    rows = b"".join(b"\0" + b"".join(struct.pack(">H", x * 1024) for x in range(64)) for _ in range(64))
    made = prepare(png((64, 64, 16, 0), rows))
    sent = pixels(made.data)
    assert sent.mode == "L"
    assert [sent.getpixel((x, 32)) for x in (0, 16, 32, 63)] == pytest.approx([0, 64, 128, 251], abs=3)
    assert "I;16 gray scaled to 8 bits" in made.notes


def test_sixteen_bit_colour_png_keeps_its_colours():
    rows = b"".join(b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 64 for _ in range(64))
    sent = pixels(prepare(png((64, 64, 16, 2), rows)).data)
    assert sent.getpixel((30, 30)) == pytest.approx((255, 128, 0), abs=3)


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("I;16", (0, 30_000, 65_535), (0, 117, 255)),
        ("I", (0, 30_000, 65_535), (0, 117, 255)),
        ("I", (0, 100, 255), (0, 100, 255)),
        ("I", (-1000, 0, 1000), (0, 128, 255)),
        ("F", (0.0, 0.5, 1.0), (0, 128, 255)),
        ("F", (0.0, 100.0, 255.0), (0, 100, 255)),
        ("F", (-1.0, 0.0, 1.0), (0, 128, 255)),
    ],
)
def test_deep_gray_tiff_is_scaled_by_its_range(mode, values, expected):
    image = Image.new(mode, (90, 30))
    for band, value in enumerate(values):
        image.paste(Image.new(mode, (30, 30), value), (30 * band, 0))
    sent = pixels(prepare(saved(image, "TIFF")).data)
    assert [sent.getpixel((x, 15)) for x in (15, 45, 75)] == pytest.approx(expected, abs=4)


def test_a_picture_of_not_a_number_is_rejected():
    image = Image.new("F", (64, 64), float("nan"))
    with pytest.raises(ImageRejected, match="no picture has such values"):
        prepare(saved(image, "TIFF"))


@pytest.mark.parametrize("name", ["PNG", "WEBP", "AVIF", "TIFF", "HEIF"])
def test_transparency_is_put_on_white(name):
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 32, 64))
    made = prepare(saved(image, name))
    sent = pixels(made.data)
    assert sent.getpixel((50, 32)) == pytest.approx((255, 255, 255), abs=6)
    assert sent.getpixel((10, 32)) == pytest.approx((0, 0, 255), abs=16)
    assert "transparency put on white" in made.notes


def test_a_transparent_palette_colour_is_put_on_white():
    image = quarters(mode="P")
    made = prepare(saved(image, "GIF", transparency=image.getpixel((0, 0))))
    assert pixels(made.data).convert("RGB").getpixel((5, 5)) == pytest.approx((255, 255, 255), abs=6)


@pytest.mark.parametrize("name", ["GIF", "TIFF", "PNG", "WEBP", "AVIF", "HEIF"])
def test_the_first_frame_is_sent_and_the_others_are_mentioned(name):
    others = [Image.new("RGB", (160, 120), "black"), Image.new("RGB", (160, 120), "white")]
    made = prepare(saved(quarters(), name, save_all=True, append_images=others))
    assert close(pixels(made.data), quarters())
    assert made.notes[0] == "the first of several frames or pages"
    assert not getattr(pixels(made.data), "is_animated", False)


def profile(*, swapped: bool) -> bytes:
    """An sRGB profile, or one of another name whose red is sRGB's green."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if not swapped:
        return made
    renamed = made.replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be")).replace(b"sRGB", b"Swap")
    return renamed.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_colour_profile_is_applied_and_taken_out(name):
    made = prepare(saved(Image.new("RGB", (64, 64), "red"), name, icc_profile=profile(swapped=True)))
    sent = pixels(made.data)
    assert sent.getpixel((9, 9)) == pytest.approx((0, 255, 0), abs=4)
    assert "icc_profile" not in sent.info
    assert "RGB converted to sRGB through its ICC profile" in made.notes


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_that_says_srgb_changes_nothing(name):
    made = prepare(saved(Image.new("RGB", (64, 64), "red"), name, icc_profile=profile(swapped=False)))
    assert pixels(made.data).getpixel((9, 9)) == pytest.approx((255, 0, 0), abs=4)
    assert not made.notes


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("found", [b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_a_profile_that_cannot_be_used_is_no_reason_to_reject(name, found):
    made = prepare(saved(quarters(), name, icc_profile=found))
    assert close(pixels(made.data), quarters())
    assert "icc_profile" not in pixels(made.data).info


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "HEIF"])
def test_a_file_that_ends_early_is_rejected_wherever_it_ends(name):
    # A photograph, because a simple picture's bytes can be whole long before the file's end.
    data = saved(photo(), name)
    for share in (0.001, 0.02, 0.3, 0.6, 0.8):
        with pytest.raises(ImageRejected) as found:
            prepare(data[: max(12, int(len(data) * share))])
        assert found.value.reason in {"truncated", "corrupt"}, share


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_truncated_png_is_rejected_whatever_its_orientation(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = saved(photo(), "PNG", exif=exif)
    with pytest.raises(ImageRejected):
        prepare(data[: len(data) // 2])


def test_a_png_whose_checksum_is_wrong_is_rejected():
    data = bytearray(saved(photo(), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(ImageRejected):
        prepare(bytes(data))


@pytest.mark.parametrize("rows", [1, 63, 65])
def test_a_png_with_too_few_or_too_many_rows_is_never_sent_as_it_is(rows):
    assert prepare(png((64, 64, 8, 0), 64 * (b"\0" + bytes(64)))).passed_through
    made = prepare(png((64, 64, 8, 0), rows * (b"\0" + bytes(64))))
    assert not made.passed_through
    assert pixels(made.data).size == (64, 64)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("kind", ["eXIf", "XMP"])
def test_the_orientation_of_a_png_is_found_before_and_behind_its_pixels(where, kind):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    extra = chunk(b"eXIf", exif.tobytes()[6:]) if kind == "eXIf" else chunk(b"iTXt", xmp)
    data = saved(quarters().transpose(Image.Transpose.ROTATE_90), "PNG")
    at = data.index(b"IDAT") - 4 if where == "before" else data.index(b"IEND") - 4
    made = prepare(data[:at] + extra + data[at:])
    assert close(pixels(made.data), quarters())


@pytest.mark.parametrize(
    ("data", "reason", "text"),
    [
        (b"", "empty", "no bytes"),
        (b"\n", "not_an_image", "text"),
        ("просто текст".encode(), "not_an_image", "text"),
        (b"\x01\x02\x03\x04", "not_an_image", "01 02 03 04"),
        (bytes(100), "not_an_image", "belong to no picture"),
        (b"%PDF-1.7", "unsupported_format", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format", "SVG"),
        (b"PK\x03\x04aaaa", "unsupported_format", "ZIP"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "unsupported_format", "video"),
        (b"\xff\xd8\xff", "corrupt", "JPEG"),
        (b"\xff\xd8\xff\xe0" + bytes(500), "corrupt", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "corrupt", "PNG"),
        (b"GIF89a", "corrupt", "GIF"),
        (b"GIF89a" + bytes(20), "corrupt", "GIF"),
        (b"II*\x00\x08\x00\x00\x00", "corrupt", "TIFF"),
        (b"BM" + bytes(60), "corrupt", "BMP"),
        (b"RIFF\x00\x00\x00\x00WEBP", "corrupt", "WebP"),
        (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00avifmif1", "corrupt", "AVIF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "corrupt", "HEIC"),
    ],
)
def test_what_is_no_picture_is_rejected_with_a_reason(data, reason, text):
    with pytest.raises(ImageRejected, match=text) as found:
        prepare(data)
    assert {found.value.reason, reason} <= {reason, "truncated" if reason == "corrupt" else reason}


@pytest.mark.parametrize("name", MODELS)
def test_a_budget_without_room_rejects_and_says_what_to_change(name):
    with pytest.raises(ImageRejected, match="shorten the prompt, lower max_tokens") as found:
        prepare(saved(quarters(), "JPEG"), 9, get_model(name))
    assert found.value.reason == "no_room"


def test_an_unknown_version_is_the_persons_error_and_not_the_pictures():
    with pytest.raises(InputError, match="no preprocessing version 2: known are 1"):
        prepare(saved(quarters(), "JPEG"), version=2)


def test_a_file_over_the_byte_limit_is_rejected_before_it_is_read():
    data = saved(quarters(), "JPEG")
    assert prepare(data, limits=ImageLimits(max_bytes=len(data)))
    with pytest.raises(ImageRejected, match=f"{len(data)} bytes; the limit is {len(data) - 1}") as found:
        prepare(data, limits=ImageLimits(max_bytes=len(data) - 1))
    assert found.value.reason == "too_many_bytes"


@pytest.mark.parametrize("name", ["PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "HEIF"])
def test_a_picture_over_the_pixel_limit_is_rejected(name):
    data = saved(quarters(), name)
    assert prepare(data, limits=ImageLimits(max_pixels=160 * 120))
    with pytest.raises(ImageRejected, match="160x120 are 19200 pixels; the limit is 19199") as found:
        prepare(data, limits=ImageLimits(max_pixels=160 * 120 - 1))
    assert found.value.reason == "too_many_pixels"


@pytest.mark.parametrize(("bits", "colour"), [(8, 2), (1, 0), (16, 6)])
def test_a_bomb_is_rejected_by_its_header_before_memory_is_taken(bits, colour):
    tracemalloc.start()
    with pytest.raises(ImageRejected, match="too_many_pixels"):
        prepare(png((60_000, 60_000, bits, colour), bytes(10_000)))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_a_large_baseline_jpeg_counts_after_the_decoders_own_reduction():
    data = saved(quarters(2400, 1800), "JPEG")
    limits = ImageLimits(max_pixels=1_500_000)
    assert prepare(data, 200, limits=limits).source_width == 2400
    with pytest.raises(ImageRejected, match="too_many_pixels"):
        prepare(saved(quarters(2400, 1800), "JPEG", progressive=True), 200, limits=limits)


def secret_exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "SECRET-ARTIST"
    exif[ExifTags.Base.Model] = "SECRET-CAMERA"
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitude] = (55.0, 45.0, 7.0)
    place[ExifTags.GPS.GPSMapDatum] = "SECRET-PLACE"
    return exif.tobytes()


@pytest.mark.parametrize("budget_tokens", [3000, 14])
@pytest.mark.parametrize("name", FORMATS)
def test_metadata_never_leave(name, budget_tokens):
    options = {"exif": secret_exif(), "xmp": b"<x:xmpmeta>SECRET-XMP</x:xmpmeta>", "comment": b"SECRET-COMMENT"}
    if name == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Author", "SECRET-TEXT")
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", "SECRET-XMP")
    data = saved(quarters(), name, **options)
    if name == "JPEG":
        data = data.replace(b"\xff\xdb", b"\xff\xed\x00\x12SECRET-IPTC-SEG\0" + b"\xff\xdb", 1) + b"SECRET-TRAILER"
    assert b"SECRET" in data
    made = prepare(data, budget_tokens)
    sent = pixels(made.data)
    assert b"SECRET" not in made.data
    assert not sent.getexif()
    assert set(sent.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}
    assert made.passed_through == (name in {"JPEG", "PNG"} and budget_tokens == 3000)
    assert ("metadata taken out" in made.notes) == made.passed_through


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {"quality": 30}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"subsampling": 0, "restart_marker_blocks": 4}),
        ("JPEG", "RGB", {"keep_rgb": True}),
        ("PNG", "RGB", {}),
        ("PNG", "L", {"compress_level": 1}),
    ],
)
def test_what_fits_as_it_is_is_sent_as_it_is(name, mode, options):
    data = saved(quarters(mode=mode), name, **options)
    made = prepare(data)
    assert made.passed_through
    assert made.data is data
    assert not made.notes


def test_passing_through_without_metadata_keeps_every_pixel():
    for name in ("JPEG", "PNG"):
        data = saved(photo(), name, exif=secret_exif(), quality=70)
        made = prepare(data)
        assert made.passed_through == (name == "JPEG")
        if name == "JPEG":
            assert pixels(made.data).tobytes() == pixels(data).tobytes()
    data = saved(quarters(), "PNG", exif=secret_exif())
    assert pixels(prepare(data).data).tobytes() == pixels(data).tobytes()


@pytest.mark.parametrize("name", [*FORMATS, "GIF", "BMP"])
@pytest.mark.parametrize("budget_tokens", [3000, 40])
def test_the_same_bytes_in_give_the_same_bytes_out_on_any_thread(name, budget_tokens):
    data = [saved(picture, name) for picture in (photo(), quarters(400, 300), quarters(31, 200))]
    alone = [prepare(each, budget_tokens).data for each in data]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda each: prepare(each, budget_tokens).data, data * 8))
    assert together == alone * 8


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(1600, 1200), (640, 480), (1, 1), (2, 3), (900, 3), (3, 900), (385, 385)])
def test_what_is_sent_decodes_to_the_declared_size_within_the_budget(name, size):
    model = get_model(name)
    for budget_tokens in (421, 1100, 3300):
        made = prepare(saved(quarters(*size), "PNG"), budget_tokens, model)
        assert pixels(made.data).size == (made.width, made.height)
        assert made.tokens == prompt_tokens(model, made.width, made.height) <= budget_tokens
        assert (made.source_width, made.source_height) == size


@pytest.mark.parametrize("orientation", [1, 6])
def test_margins_are_white_and_the_picture_in_their_middle_keeps_its_ratio(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    size = (60, 900) if orientation == 1 else (900, 60)
    made = prepare(saved(Image.new("RGB", size, "blue"), "PNG", exif=exif), 40)
    sent = pixels(made.data).convert("RGB")
    assert made.notes == ("white margins around 28x420",)
    assert sent.size == (28, 616)
    white, blue = (pytest.approx(colour, abs=4) for colour in ((255, 255, 255), (0, 0, 255)))
    assert [sent.getpixel((14, y)) for y in (0, 96, 100, 516, 520, 615)] == [white, white, blue, blue, white, white]


def test_a_drawing_stays_lossless_and_a_photograph_becomes_a_jpeg():
    assert prepare(saved(quarters(2400, 1600), "PNG")).media_type == "image/png"
    assert prepare(saved(photo(2400, 1600), "PNG")).media_type == "image/jpeg"
    assert prepare(saved(quarters(2400, 1600), "JPEG")).media_type == "image/jpeg"
