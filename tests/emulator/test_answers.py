"""The measuring answerer: right about simple pictures, silent about what it cannot measure, in both languages."""

import io
import json
import random

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from vision_batch.emulator.answerer import answer
from vision_batch.emulator.measures import UnreadableImageError, measure
from vision_batch.enrichment.answer import AnswerSchema, schema_prompt

COLOURS = {
    "red": (200, 20, 30), "orange": (240, 130, 10), "yellow": (250, 220, 20), "green": (30, 160, 50),
    "cyan": (20, 190, 200), "blue": (20, 60, 200), "purple": (130, 30, 180), "pink": (250, 120, 190),
    "brown": (110, 60, 20), "white": (250, 250, 250), "gray": (128, 128, 130), "black": (10, 10, 12),
}  # fmt: skip
RUSSIAN = {
    "red": "красный", "orange": "оранжевый", "yellow": "жёлтый", "green": "зелёный", "cyan": "голубой",
    "blue": "синий", "purple": "фиолетовый", "pink": "розовый", "brown": "коричневый", "white": "белый",
    "gray": "серый", "black": "чёрный",
}  # fmt: skip


def encoded(image, form="PNG", **options):
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def plain(colour, size=(80, 60)):
    return Image.new("RGB", size, colour)


def scene(size=(400, 300)):
    """A picture with the grain and the soft shades of a photo, and sharp things in it."""
    random.seed(5)
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    pen = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = random.randrange(size[0]), random.randrange(size[1])
        pen.rectangle((x, y, x + 14, y + 14), fill=tuple(random.randrange(40, 256) for _ in range(3)))
    grain = Image.effect_noise(size, 18).convert("RGB")
    return Image.blend(image, grain, 0.25)


def told(image, language="en", **fields):
    """The answers to fields of a schema, asked as the project asks them."""
    schema = AnswerSchema.model_validate({"fields": fields})
    data = image if isinstance(image, bytes) else encoded(image)
    prompt = f"Look at the picture.\n\n{schema_prompt(schema, language)}\n\n[ref: 0123abcd]"
    found = json.loads(answer(data, prompt))
    assert list(found) == list(fields)
    return found


def string(description, **more):
    return {"type": "string", "description": description, **more}


def enum(description, *values):
    return {"type": "enum", "description": description, "values": values}


@pytest.mark.parametrize("name", COLOURS)
def test_colours_in_english_and_russian(name):
    square = plain(COLOURS[name])
    assert told(square, colour=string("dominant colour")) == {"colour": name}
    chosen = told(square, "ru", shade=enum("преобладающий цвет товара", *RUSSIAN.values()))
    assert chosen == {"shade": RUSSIAN[name]}


def test_most_of_the_picture_gives_its_colour():
    image = plain(COLOURS["blue"])
    ImageDraw.Draw(image).rectangle((0, 0, 20, 20), fill=COLOURS["red"])
    assert told(image, color=string("main color")) == {"color": "blue"}


@pytest.mark.parametrize(("size", "name"), [((90, 60), "landscape"), ((60, 90), "portrait"), ((60, 60), "square")])
def test_orientation_and_sides(size, name):
    asked = {
        "orientation": enum("how the picture is held", "portrait", "landscape", "square"),
        "width": {"type": "integer", "description": "width of the picture", "unit": "px"},
        "is_landscape": {"type": "boolean", "description": "is it wider than high"},
    }
    expected = {"orientation": name, "width": size[0], "is_landscape": name == "landscape"}
    assert told(plain("white", size), **asked) == expected
    russian = {"landscape": "альбомная", "portrait": "книжная", "square": "квадратная"}
    assert told(plain("white", size), "ru", form=enum("ориентация снимка", *russian.values())) == {
        "form": russian[name]
    }


@pytest.mark.parametrize(("grey", "light"), [(25, "dark"), (128, "normal"), (235, "bright")])
def test_light(grey, light):
    image = plain((grey, grey, grey))
    asked = {
        "brightness": {"type": "number", "description": "how bright it is", "minimum": 0, "maximum": 10},
        "exposure": enum("exposure", "dark", "normal", "bright"),
        "too_dark": {"type": "boolean", "description": "is the picture too dark"},
        "is_night": {"type": "boolean", "description": "was it taken at night"},
    }
    found = told(image, **asked)
    assert found["brightness"] == pytest.approx(grey / 25.5, abs=0.02)
    assert (found["exposure"], found["too_dark"], found["is_night"]) == (light, light == "dark", light == "dark")
    russian = {"dark": "тёмная", "normal": "нормальная", "bright": "яркая"}
    assert told(image, "ru", light=enum("освещённость", *russian.values())) == {"light": russian[light]}


def test_a_blurred_picture_is_less_sharp_and_said_to_be_so():
    asked = {
        "sharpness": {"type": "integer", "description": "sharpness", "minimum": 1, "maximum": 5},
        "focus": enum("focus of the picture", "sharp", "blurred"),
        "is_blurred": {"type": "boolean", "description": "is it blurred"},
    }
    sharp, blurred = scene(), scene().filter(ImageFilter.GaussianBlur(6))
    assert measure(encoded(sharp)).sharpness > 2 * measure(encoded(blurred)).sharpness
    first, second = told(sharp, **asked), told(blurred, **asked)
    assert first["sharpness"] > second["sharpness"]
    assert (first["focus"], first["is_blurred"]) == ("sharp", False)
    assert (second["focus"], second["is_blurred"]) == ("blurred", True)
    assert told(blurred, "ru", clear=enum("резкость", "резкое", "размытое")) == {"clear": "размытое"}


def test_a_photo_and_a_drawing():
    drawing = plain("white", (400, 300))
    pen = ImageDraw.Draw(drawing)
    pen.ellipse((50, 50, 150, 150), fill="red")
    pen.polygon([(200, 50), (350, 250), (180, 260)], fill="blue")
    for image, name, russian in ((scene(), "photo", "фотография"), (drawing, "drawing", "рисунок")):
        assert told(image, kind=enum("what it is", "photo", "drawing")) == {"kind": name}
        assert told(image, "ru", view=enum("фото или рисунок", "фотография", "рисунок")) == {"view": russian}


def test_contrast():
    flat, strong = ImageEnhance.Contrast(scene()).enhance(0.1), ImageEnhance.Contrast(scene()).enhance(4)
    asked = {"contrast": enum("contrast", "low", "medium", "high")}
    assert (told(flat, **asked), told(strong, **asked)) == ({"contrast": "low"}, {"contrast": "high"})


@pytest.mark.parametrize("language", ["en", "ru"])
def test_what_cannot_be_measured_is_null(language):
    asked = {
        "brand": string("the brand on the package"),
        "price": {"type": "number", "description": "price on the tag", "minimum": 0, "maximum": 1000, "unit": "₽"},
        "expires": {"type": "date", "description": "best before"},
        "people": {"type": "integer", "description": "how many people are seen"},
        "is_open": {"type": "boolean", "description": "is the box open"},
        "colour": enum("colour of the product", "transparent", "striped"),
    }
    assert told(scene(), language, **asked) == dict.fromkeys(asked)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_lists_and_objects(language):
    asked = {
        "colours": {"type": "list", "items": "enum", "values": ["red", "blue"], "description": "dominant colours"},
        "frame": {
            "type": "object",
            "description": "the picture as such",
            "fields": {
                "width": {"type": "integer", "description": "width"},
                "more": {"type": "object", "description": "d", "fields": {"colour": string("the colour")}},
            },
        },
        "brands": {"type": "list", "items": "string", "description": "brands on the package"},
        "height": {"type": "integer", "description": "height"},
    }
    assert told(plain(COLOURS["red"], (90, 60)), language, **asked) == {
        "colours": ["red"],
        "frame": {"width": 90, "more": {"colour": "red"}},
        "brands": None,
        "height": 60,
    }


@pytest.mark.parametrize(
    ("prompt", "words"), [("What is it?", "the dominant colour is red"), ("Что это?", "преобладающий цвет красный")]
)
def test_a_prompt_without_fields_gets_a_sentence_that_owns_up(prompt, words):
    text = answer(encoded(plain(COLOURS["red"])), prompt)
    assert words in text
    assert "not a model" in text or "не модель" in text


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("What?", "This is the emulator of AI Studio, not a model. The request has 5 characters and no image."),
        ("Что это?", "Это эмулятор AI Studio, а не модель. В запросе 8 символов и нет изображения."),
        ('- "colour" (string): colour', '{"colour": null}'),
    ],
)
def test_a_request_without_an_image(prompt, found):
    assert answer(None, prompt) == found


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_way_to_store_pixels_is_measured(mode):
    image = Image.new("L", (40, 30), 240).convert(mode) if mode not in {"LA", "RGBA"} else Image.new(mode, (40, 30), 0)
    data = encoded(image, "TIFF" if mode in {"CMYK", "F", "I;16"} else "PNG")
    assert told(data, orientation=string("orientation"), colour=string("colour")) == {
        "orientation": "landscape",
        "colour": "white",
    }


@pytest.mark.parametrize(("form", "size"), [("PNG", 0), ("PNG", 8), ("PNG", 2000), ("JPEG", 3000), ("GIF", 6)])
def test_what_is_not_a_whole_image(form, size):
    data = encoded(scene(), form)[:size]
    with pytest.raises(UnreadableImageError, match=f"{len(data)} bytes are not an image"):
        answer(data, "What is it?")


@pytest.mark.parametrize(
    "prompt",
    [
        'Ответь так: {"яркость": "темная, нормальная или светлая", "цвет": "красный"}',
        '{\n"яркость": "темная, нормальная или светлая",\n"цвет": "красный"\n}',
    ],
    ids=["one line", "lines"],
)
def test_what_an_example_shows_is_not_repeated_as_the_answer(prompt):
    found = answer(encoded(plain(COLOURS["black"])), prompt)
    assert "темная, нормальная" not in found
    assert "красный" not in found


def test_the_words_of_an_example_are_what_is_allowed():
    prompt = '{\n"brightness": "dark, normal or bright",\n"color": "red"\n}'
    assert json.loads(answer(encoded(plain(COLOURS["black"])), prompt)) == {"brightness": "dark", "color": "black"}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_schema_asks_for_its_properties(indent):
    schema = {
        "type": "object",
        "properties": {
            "color": {"type": "string", "enum": ["red", "blue"], "description": "the dominant colour"},
            "brightness": {"type": ["number", "null"], "minimum": 0, "maximum": 10},
            "colors": {"type": "array", "items": {"type": "string"}, "description": "dominant colours"},
            "size": {"type": "object", "properties": {"width": {"type": "integer"}, "maker": {"type": "string"}}},
        },
        "required": ["color"],
    }
    prompt = f"Answer by this schema:\n{json.dumps(schema, indent=indent)}\nand nothing else."
    found = json.loads(answer(encoded(plain((0, 0, 255), (80, 60))), prompt))
    assert found.pop("brightness") == pytest.approx(0.722, abs=3)
    assert found == {"color": "blue", "colors": ["blue"], "size": {"width": 80, "maker": None}}
