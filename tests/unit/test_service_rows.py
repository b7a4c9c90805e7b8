"""Requests as lines."""

import base64
import hashlib
import json
import tracemalloc

import pytest

from vision_batch.errors import InputError
from vision_batch.service.rows import request_line

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


def test_an_image_is_copied_once_as_base64_and_once_into_its_line():
    """What that saves in time is measured by `benchmarks/rows.py`."""
    image = hashlib.shake_256(b"image").digest(600_000)

    def naive() -> bytes:
        content = [{"type": "text", "text": "Q"}, {"type": "image", "image": base64.b64encode(image).decode()}]
        return json.dumps({"request": [{"role": "user", "content": content}]}).encode() + b"\n"

    def copies(work) -> float:
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1] / len(base64.b64encode(image))
        finally:
            tracemalloc.stop()

    assert copies(lambda: request_line("Q", image)) < 2.1
    assert copies(naive) > 3
