"""Every kind of file has its stated outcome: sent upright, in true colours, or rejected with the reason."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from io import BytesIO

import image_corpus as corpus
import pytest
from PIL import Image, ImageStat

from vision_batch.errors import ImageRejected
from vision_batch.images.budget import prompt_tokens
from vision_batch.images.prepare import prepare_image
from vision_batch.images.webp_header import declared_size
from vision_batch.models import MODELS

BUDGET = 3000
FAMILIES = {model.family: model for model in MODELS.values()}
RED, WHITE, ORANGE = (255, 0, 0), (255, 255, 255), (255, 128, 0)
#: Luma of red.
GRAY_RED = (76, 76, 76)


@dataclass(frozen=True)
class Sent:
    """What is sent: the colour of the upper left quarter (of the middle where sizes differ by family), size, notes."""

    corner: tuple[int, int, int] = RED
    size: tuple[int, int] = corpus.SIZE
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    untouched: bool = False
    notes: tuple[str, ...] = ()


TAKEN_OUT = Sent(untouched=True, notes=("metadata taken out",))
FIRST_FRAME = "the first of several frames or pages"
ON_WHITE = "transparency put on white"
NO_PROFILE = "CMYK converted to RGB without an ICC profile"
#: Notes by mode; HEIC and others drop an alpha channel that is opaque everywhere.
NOTES = {
    "RGBA": {"PNG": (ON_WHITE,), "TIFF": (ON_WHITE,), "HEIF": (ON_WHITE,)},
    "LA": {"PNG": (ON_WHITE,), "TIFF": (ON_WHITE,)},
    "CMYK": {"JPEG": (NO_PROFILE,), "TIFF": (NO_PROFILE,)},
    "LAB": {"TIFF": ("LAB converted to sRGB through its ICC profile",)},
}
GRAY = {"1", "L", "LA", "I;16", "I", "F"}


def of_mode(mode: str, name: str) -> Sent:
    deep = (f"{mode} gray scaled to 8 bits",) if mode in {"I;16", "I", "F"} else ()
    return Sent(
        corner=GRAY_RED if mode in GRAY else RED,
        untouched=name in {"JPEG", "PNG"} and mode in {"L", "RGB"},
        notes=NOTES.get(mode, {}).get(name, deep),
    )


#: Every format in every mode.
CASES = {
    f"{name} {mode}": (lambda mode=mode, name=name: corpus.in_mode(mode, name), of_mode(mode, name))
    for name, modes in corpus.MODES.items()
    for mode in modes
    if mode != "1"  # dithered: tested beside
}
CASES |= {
    f"{name} orientation {orientation}": (
        lambda orientation=orientation, name=name: corpus.oriented(orientation, name),
        TAKEN_OUT if orientation == 1 and name in {"JPEG", "PNG"} else Sent(),
    )
    for name in corpus.ORIENTABLE
    for orientation in corpus.TURNED
}
CASES |= {
    f"{name} animated": (lambda name=name: corpus.animated(name), Sent(notes=(FIRST_FRAME,)))
    for name in corpus.ANIMATED
}
CASES |= {
    f"{name} transparent palette": (lambda name=name: corpus.transparent_palette(name), Sent(WHITE, notes=(ON_WHITE,)))
    for name in ("PNG", "GIF")
}
CASES |= {
    "CMYK without a profile": (lambda: corpus.cmyk(None), Sent((0, 255, 255), notes=(NO_PROFILE,))),
    "CMYK with a profile": (
        lambda: corpus.cmyk(corpus.cmyk_profile()),
        Sent(RED, notes=("CMYK converted to sRGB through its ICC profile",)),
    ),
    "CMYK TIFF with a profile": (
        lambda: corpus.cmyk(corpus.cmyk_profile(), "TIFF"),
        Sent(RED, notes=("CMYK converted to sRGB through its ICC profile",)),
    ),
    "16-bit colour PNG": (corpus.sixteen_bit_colour, Sent(ORANGE)),
    "16-bit gray PNG with a transparent value": (
        corpus.transparent_deep_gray,
        Sent(WHITE, notes=("I;16 gray scaled to 8 bits", ON_WHITE)),
    ),
    "GPS": (corpus.with_gps, TAKEN_OUT),
    "GPS in a PNG": (lambda: corpus.with_gps("PNG"), TAKEN_OUT),
    "GPS in a WebP": (lambda: corpus.with_gps("WEBP"), Sent()),
    "1x1": (
        lambda: corpus.saved(Image.new("RGB", (1, 1), "red"), "PNG"),
        Sent(sizes={"qwen": (28, 28), "deepseek": (1, 1), "gemma": (4, 4)}),
    ),
    "10000x10": (
        lambda: corpus.saved(Image.new("RGB", (10_000, 10), "red"), "PNG"),
        Sent(sizes={"qwen": (10_000, 50), "deepseek": (3456, 5), "gemma": (3584, 4)}),
    ),
    "50 MP JPEG": (
        lambda: corpus.huge("RGB", "JPEG"),
        Sent(sizes={"qwen": (1764, 1316), "deepseek": (1152, 864), "gemma": (1194, 896)}),
    ),
    "50 MP gray PNG": (
        lambda: corpus.huge("L", "PNG"),
        Sent(GRAY_RED, sizes={"qwen": (1764, 1316), "deepseek": (1152, 864), "gemma": (1194, 896)}),
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("make", "expected"), CASES.values(), ids=CASES)
def test_it_is_sent(make, expected, family):
    made = prepare_image(make(), model=FAMILIES[family], budget_tokens=BUDGET)
    sent = Image.open(BytesIO(made.data))
    sent.load()
    assert sent.size == (made.width, made.height) == expected.sizes.get(family, expected.size)
    assert sent.mode in {"L", "RGB"}
    if not expected.sizes:
        assert made.passed_through == expected.untouched
        assert made.notes == expected.notes
    at = (sent.width // 2, sent.height // 2) if expected.sizes else (20, 20)
    assert sent.convert("RGB").getpixel(at) == pytest.approx(expected.corner, abs=45)
    assert made.tokens == prompt_tokens(FAMILIES[family], *sent.size) <= BUDGET
    assert not sent.getexif()
    assert b"PRIVATE" not in made.data


@pytest.mark.parametrize("name", [name for name, modes in corpus.MODES.items() if "1" in modes])
def test_one_bit_is_sent_as_gray(name):
    made = prepare_image(corpus.in_mode("1", name), model=FAMILIES["qwen"], budget_tokens=BUDGET)
    sent = Image.open(BytesIO(made.data))
    assert (sent.size, sent.mode, made.notes) == (corpus.SIZE, "L", ())
    assert ImageStat.Stat(sent.crop((0, 0, 80, 60))).mean == pytest.approx([76], abs=10)


def half(name: str) -> bytes:
    data = corpus.saved(corpus.photograph(), name)
    return data[: len(data) // 2]


def bomb(bits: int, colour: int) -> bytes:
    return corpus.png((60_000, 60_000, bits, colour), bytes(10_000))


def webp_bomb(kind: bytes) -> bytes:
    """A WebP whose header claims 16383x16383 or more, for which libwebp would take a gigabyte at once."""
    body = {
        b"VP8X": bytes(4) + b"\xff\xff\x00" * 2,
        b"VP8L": b"\x2f" + (16_382 | 16_382 << 14).to_bytes(4, "little"),
        b"VP8 ": b"\x10\x00\x00\x9d\x01\x2a" + (16_383).to_bytes(2, "little") * 2,
    }[kind] + bytes(80)
    chunk = kind + len(body).to_bytes(4, "little") + body
    return b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk


#: Reasons that are right, and words of the message.
REJECTED = {
    **{
        f"{name} truncated": (lambda name=name: half(name), {"truncated", "corrupt"}, name[:4]) for name in corpus.MODES
    },
    "PNG corrupt": (lambda: corpus.flipped(corpus.saved(corpus.photograph(), "PNG")), {"corrupt"}, "PNG"),
    "PNG header corrupt": (lambda: corpus.flipped(corpus.in_mode("RGB", "PNG"), 0.05), {"corrupt"}, "PNG"),
    "JPEG corrupt": (lambda: b"\xff\xd8\xff\xe0" + bytes(500), {"corrupt", "truncated"}, "JPEG"),
    "GIF corrupt": (lambda: b"GIF89a" + bytes(20), {"corrupt"}, "GIF"),
    "TIFF corrupt": (lambda: b"II*\0" + bytes([255] * 40), {"corrupt", "truncated"}, "TIFF"),
    "zero bytes": (lambda: b"", {"empty"}, "no bytes"),
    "zeros": (lambda: bytes(1000), {"not_an_image"}, "belong to no picture"),
    "text renamed .jpg": ("Это просто текст.".encode, {"not_an_image"}, "text"),
    "PDF renamed .jpg": (lambda: b"%PDF-1.7 ...", {"unsupported_format"}, "PDF"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"unsupported_format"}, "SVG"),
    "video": (lambda: b"\0\0\0\x18ftypmp42" + bytes(12), {"unsupported_format"}, "video"),
    "bomb of bits": (lambda: bomb(1, 0), {"too_many_pixels"}, "3600000000 pixels; the limit is 64000000"),
    "bomb of colours": (lambda: bomb(16, 6), {"too_many_pixels"}, "3600000000 pixels"),
    "bomb in a WebP canvas": (lambda: webp_bomb(b"VP8X"), {"too_many_pixels"}, "65536x65536"),
    "bomb in a lossless WebP": (lambda: webp_bomb(b"VP8L"), {"too_many_pixels"}, "16383x16383"),
    "bomb in a lossy WebP": (lambda: webp_bomb(b"VP8 "), {"too_many_pixels"}, "16383x16383"),
    "bomb of 65 MP": (lambda: corpus.png((65_000, 1000, 1, 0), b""), {"too_many_pixels"}, "65000000 pixels"),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("make", "reasons", "words"), REJECTED.values(), ids=REJECTED)
def test_it_is_rejected_with_its_reason(make, reasons, words, family):
    with pytest.raises(ImageRejected) as found:
        prepare_image(make(), model=FAMILIES[family], budget_tokens=BUDGET)
    assert found.value.reason in reasons
    assert words.lower().replace("heif", "heic") in str(found.value).lower()


def test_heic_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # what an import finds where it is not installed
    with pytest.raises(ImageRejected, match=r"install 'vision-batch\[heic\]'") as found:
        prepare_image(corpus.in_mode("RGB", "HEIF"), model=FAMILIES["qwen"], budget_tokens=BUDGET)
    assert found.value.reason == "heic_support_missing"


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0" + bytes(20)}, {"save_all": True}])
@pytest.mark.parametrize("size", [(1, 1), (161, 77), (3000, 2)])
def test_the_size_in_a_webp_header_is_the_one_that_libwebp_finds(size, options):
    more = {"append_images": [Image.new("RGB", size, "blue")]} if options.get("save_all") else {}
    data = corpus.saved(Image.new("RGB", size, "red"), "WEBP", **options, **more)
    assert declared_size(data) == size == Image.open(BytesIO(data)).size
