"""Requests as lines."""

import base64
import hashlib
import json
import time

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


def test_lines_are_at_least_thirty_times_cheaper_than_json_and_base64(record_property):
    """The target of the project's measurements, with room for a busy machine: at least ten times.

    The image is small enough for the allocator to keep its memory; else the kernel's page faults would be measured.
    """
    image = hashlib.shake_256(b"image").digest(60_000)

    def naive() -> bytes:
        content = [{"type": "text", "text": "Q"}, {"type": "image", "image": base64.b64encode(image).decode()}]
        return json.dumps({"request": [{"role": "user", "content": content}]}).encode() + b"\n"

    def seconds(work) -> float:
        begun = time.process_time()
        for _ in range(100):
            work()
        return time.process_time() - begun

    ratio = min(seconds(naive) for _ in range(3)) / min(seconds(lambda: request_line("Q", image)) for _ in range(3))
    record_property("rows_ratio", ratio)
    assert ratio >= 10
