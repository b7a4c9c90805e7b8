"""Requests as lines, and their hash in a normal form."""

import base64
import hashlib
import json
import tracemalloc

import pytest

from vision_batch.errors import InputError
from vision_batch.service.rows import request_hash, request_line

PROMPTS = ['Вопрос: "цвет"?\n\\ и \t', "emoji 🙂 \u2028 \x00", ""]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_line_is_the_documented_form(prompt):
    line = request_line(prompt, b"\xff\xd8image")
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    image = base64.b64encode(b"\xff\xd8image").decode()
    content = [{"type": "text", "text": prompt}, {"type": "image", "image": image}]
    assert json.loads(line) == {"request": [{"role": "user", "content": content}]}


def test_a_prompt_that_utf8_cannot_carry_is_refused_before_anything_is_sent():
    with pytest.raises(InputError, match="ud800"):
        request_line("ab\ud800", b"")


def message(**fields):
    return {"role": "user", **fields}


def test_the_hash_knows_no_difference_between_null_and_absent():
    sent = [message(content=[{"type": "text", "text": "Q"}, {"type": "image", "image": "QUJD"}])]
    parts = [{"type": "text", "text": "Q", "image": None}, {"image": "QUJD", "text": None, "type": "image"}]
    columns = [{"content": parts, "text": None, "role": "user"}]
    assert request_hash(sent) == request_hash(columns)


@pytest.mark.parametrize(
    "other",
    [
        [message(text="q")],
        [message(text="Q"), message(text="Q")],
        [{"role": "system", "text": "Q"}],
        [message(text="Q", content=[])],
        [],
    ],
)
def test_the_hash_sees_every_real_difference(other):
    assert request_hash([message(text="Q")]) != request_hash(other)


def test_the_order_of_parts_is_a_difference():
    one, two = {"type": "text", "text": "1"}, {"type": "text", "text": "2"}
    assert request_hash([message(content=[one, two])]) != request_hash([message(content=[two, one])])


IMAGE = base64.b64encode(hashlib.shake_256(b"a photo").digest(20_000)).decode()


def asked(prompt, image):
    return message(content=[{"type": "text", "text": prompt}, {"type": "image", "image": image}])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ([], "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"),
        ([asked("What is it?", "QUJD")], "6e7fa98eb4596d5a76b20a8fafdacaf8ed87120a4e3076e8a8f237dc13ce36ee"),
        (
            [asked('Что это? "№ 5"\n\t\\ 🙂 \u2028 \x00 \x7f', IMAGE)],
            "fefb3a9e9ae325bb6f41fd76e962a3ecb5469d88288120f52612c50f4bdd4245",
        ),
        (
            [
                {"role": "system", "text": "Be brief."},
                asked("", memoryview(IMAGE.encode())),
                {"role": "user", "text": None, "content": []},
            ],
            "d7ee66f35c031e5e16245e73ba0d2198bfb4cb02a9a01509949555c45eaa45f1",
        ),
        (
            [message(content=[{"type": "text", "text": "Q", "image": None}, None]), None],
            "b54866912c18037470740fcbcb20018d30e0226b0bde3da0bbb8e81375cdce46",
        ),
        (
            [{"b": 1, "a": {"z": [True, None, 1.5, {}], "я": ()}}],
            "908468b84a81e5991174e2a6d6276170cb14b246802f61e051dfaffc64c847b1",
        ),
    ],
)
def test_the_hash_stays_what_shards_on_their_way_have_recorded(request_, expected):
    assert request_hash(request_) == expected


def test_an_image_is_copied_once_as_base64_and_once_into_its_line():
    """What that saves in time is measured by `benchmarks/rows.py`."""
    image = hashlib.shake_256(b"image").digest(600_000)

    def naive() -> bytes:
        content = [{"type": "text", "text": "Q"}, {"type": "image", "image": base64.b64encode(image).decode()}]
        return json.dumps({"request": [message(content=content)]}).encode() + b"\n"

    def copies(work) -> float:
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1] / len(base64.b64encode(image))
        finally:
            tracemalloc.stop()

    assert copies(lambda: request_line("Q", image)) < 2.1
    assert copies(naive) > 3
