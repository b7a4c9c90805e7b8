import io
from random import Random

import pillow_heif
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from vision_batch.errors import ImageRejected
from vision_batch.images.budget import prompt_tokens
from vision_batch.images.opening import ImageLimits
from vision_batch.images.prepare import PreparedImage, prepare_image
from vision_batch.models import MODELS, Model

MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "AVIF": ("RGB", "RGBA"),
    "HEIF": ("L", "RGB", "RGBA"),
}
FAMILIES = list({model.family: model for model in MODELS.values()}.values())
REASONS = {"empty", "not_an_image", "unsupported_format", "corrupt", "truncated", "too_many_pixels"}
LIMITS = ImageLimits(max_bytes=4_000_000, max_pixels=1_000_000)

pillow_heif.register_heif_opener()
models = st.sampled_from(FAMILIES)
budgets = st.one_of(st.integers(0, 500), st.integers(421, 4096))
sides = st.one_of(st.integers(1, 40), st.integers(1, 700))


@st.composite
def files(draw, largest: int = 700) -> tuple[bytes, str, tuple[int, int]]:
    """A picture of some format, mode, size, orientation and roughness."""
    name = draw(st.sampled_from(sorted(MODES)))
    mode = draw(st.sampled_from(MODES[name]))
    width, height = min(largest, draw(sides)), min(largest, draw(sides))
    grain = draw(st.integers(1, 24))
    chance = Random(draw(st.integers(0, 3)))
    small = Image.frombytes("RGB", (grain, grain), chance.randbytes(3 * grain * grain))
    gray = small.resize((width, height), Image.Resampling.NEAREST)
    image = gray.convert("L").convert(mode) if mode in {"I;16", "F"} else gray.convert(mode)
    orientation = draw(st.integers(0, 9))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif.tobytes()} if name in {"JPEG", "PNG", "WEBP", "AVIF", "HEIF"} else {}
    if name == "JPEG":
        options |= {"quality": draw(st.sampled_from([5, 75, 95])), "progressive": draw(st.booleans())}
    file = io.BytesIO()
    image.save(file, name, **options)
    sideways = bool(options) and orientation in {5, 6, 7, 8}
    return file.getvalue(), name, (height, width) if sideways else (width, height)


def outcome(data: bytes, model: Model, budget_tokens: int) -> PreparedImage | ImageRejected:
    try:
        return prepare_image(data, model=model, budget_tokens=budget_tokens, limits=LIMITS)
    except ImageRejected as rejected:
        return rejected


def require_sendable(made: PreparedImage, model: Model, budget_tokens: int) -> None:
    with Image.open(io.BytesIO(made.data)) as sent:
        sent.load()
        assert sent.size == (made.width, made.height)
        assert sent.mode in {"L", "RGB"}
        assert made.media_type == f"image/{sent.format.lower()}"
        assert not sent.getexif()
    assert made.tokens == prompt_tokens(model, made.width, made.height) <= budget_tokens


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(files(), models, budgets)
def test_every_picture_is_sent_as_declared_within_the_budget_or_has_no_room(file, model, budget_tokens):
    data, name, size = file
    made = outcome(data, model, budget_tokens)
    if isinstance(made, ImageRejected):
        assert made.reason == "no_room"
        assert budget_tokens < 421
        return
    require_sendable(made, model, budget_tokens)
    assert (made.source_width, made.source_height) == size
    assert made.source_format.upper().replace("HEIC", "HEIF") == name
    assert made == outcome(data, model, budget_tokens)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(files(largest=60), st.data())
def test_a_damaged_file_is_rejected_or_still_sendable_and_nothing_else(file, data):
    damaged = bytearray(file[0])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for model in FAMILIES:
        made = outcome(whole, model, 500)
        if isinstance(made, PreparedImage):
            require_sendable(made, model, 500)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([
        b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\x00", b"MM\x00+", b"BM", b"RIFF\x24\0\0\0WEBP",
        b"\x00\x00\x00\x18ftypavif\0\0\0\0avifmif1", b"\x00\x00\x00\x18ftypheic\0\0\0\0mif1heic",
    ]),
    st.binary(max_size=300),
)  # fmt: skip
@example(b"\xff\xd8\xff", b"\xe1\x00\x02")
def test_random_bytes_are_rejected_whatever_they_begin_with(signature, rest):
    made = outcome(signature + rest, FAMILIES[0], 500)
    assert isinstance(made, ImageRejected)
    assert made.reason in REASONS
