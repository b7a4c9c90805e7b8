"""The hash by which a whole request is known again: in a normal form, long texts by their tag."""

import base64
import hashlib

import pytest

from vision_batch.service.request_hash import LONG_BYTES, RequestHash

KEY = bytes(range(16))
HASHES = pytest.mark.parametrize("hashing", [RequestHash(None), RequestHash(KEY)], ids=["once", "tagged"])


def message(**fields):
    return {"role": "user", **fields}


@HASHES
def test_the_hash_knows_no_difference_between_null_and_absent(hashing):
    sent = [message(content=[{"type": "text", "text": "Q"}, {"type": "image", "image": "QUJD"}])]
    parts = [{"type": "text", "text": "Q", "image": None}, {"image": "QUJD", "text": None, "type": "image"}]
    columns = [{"content": parts, "text": None, "role": "user"}]
    assert hashing.of(sent) == hashing.of(columns)


@HASHES
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
def test_the_hash_sees_every_real_difference(hashing, other):
    assert hashing.of([message(text="Q")]) != hashing.of(other)


@HASHES
def test_the_order_of_parts_is_a_difference(hashing):
    one, two = {"type": "text", "text": "1"}, {"type": "text", "text": "2"}
    assert hashing.of([message(content=[one, two])]) != hashing.of([message(content=[two, one])])


IMAGE = base64.b64encode(hashlib.shake_256(b"a photo").digest(20_000)).decode()


def asked(prompt, image):
    return message(content=[{"type": "text", "text": prompt}, {"type": "image", "image": image}])


@HASHES
@pytest.mark.parametrize("at", [0, 12_345, -1])
def test_the_hash_sees_one_other_letter_of_an_image(hashing, at):
    other = list(IMAGE)
    other[at] = "A" if other[at] != "A" else "B"
    assert hashing.of([asked("Q", IMAGE)]) != hashing.of([asked("Q", "".join(other))])


@HASHES
@pytest.mark.parametrize("length", [0, LONG_BYTES // 2, LONG_BYTES // 2 + 1])
def test_a_text_and_a_view_of_it_are_one(hashing, length):
    text = "я" * length
    assert hashing.of([message(text=text)]) == hashing.of([message(text=memoryview(text.encode()))])


@pytest.mark.parametrize(
    ("request_", "once", "tagged"),
    [
        ([], "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945", None),
        ([asked("What is it?", "QUJD")], "6e7fa98eb4596d5a76b20a8fafdacaf8ed87120a4e3076e8a8f237dc13ce36ee", None),
        (
            [asked('Что это? "№ 5"\n\t\\ 🙂 \u2028 \x00 \x7f', IMAGE)],
            "fefb3a9e9ae325bb6f41fd76e962a3ecb5469d88288120f52612c50f4bdd4245",
            "2722ad406407252e95e6c5977a5553214cbaf3e57c589d4e0f088936a2c1d652",
        ),
        (
            [
                {"role": "system", "text": "Be brief."},
                asked("", memoryview(IMAGE.encode())),
                {"role": "user", "text": None, "content": []},
            ],
            "d7ee66f35c031e5e16245e73ba0d2198bfb4cb02a9a01509949555c45eaa45f1",
            "2b0e32ccc78268ba15a5f38b855822a47ac683ff9a9831101807f447e8182a37",
        ),
        (
            [message(content=[{"type": "text", "text": "Q", "image": None}, None]), None],
            "b54866912c18037470740fcbcb20018d30e0226b0bde3da0bbb8e81375cdce46",
            None,
        ),
        (
            [{"b": 1, "a": {"z": [True, None, 1.5, {}], "я": ()}}],
            "908468b84a81e5991174e2a6d6276170cb14b246802f61e051dfaffc64c847b1",
            None,
        ),
    ],
)
def test_the_hash_stays_what_shards_on_their_way_have_recorded(request_, once, tagged):
    for recorded in (once, f"{KEY.hex()}:{tagged or once}"):
        assert RequestHash.like(recorded).of(request_) == recorded


def test_every_shard_has_a_key_of_its_own():
    one, two = RequestHash.new(), RequestHash.new()
    assert one.of([asked("Q", IMAGE)]) != two.of([asked("Q", IMAGE)])
    assert RequestHash.like(one.of([])) == one


def test_nothing_recorded_is_a_hash_of_once():
    assert RequestHash.like(None) == RequestHash(None)
