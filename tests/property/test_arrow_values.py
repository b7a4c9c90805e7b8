"""Values read out of Arrow's memory are those that Arrow itself gives, and hash as a plain JSON of them would."""

import base64
import hashlib
import json

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_batch.service.arrow_values import python_values
from vision_batch.service.request_hash import LONG_BYTES, RequestHash

NAMES = st.text(alphabet='azя"\\ ', min_size=1, max_size=4)
LONG = LONG_BYTES * 3 // 4 + 1
IMAGES = st.binary(min_size=1, max_size=9).flatmap(
    lambda seed: st.integers(0, 2 * LONG).map(lambda size: hashlib.shake_256(seed).digest(size))
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    IMAGES.map(lambda image: base64.b64encode(image).decode()),
    st.text(alphabet='Aя"\n=+', max_size=4).map(lambda text: text * LONG),
)
SCALARS = {pa.bool_(): st.booleans(), pa.int64(): st.integers(-(2**63), 2**63 - 1), pa.float64(): st.floats()}
STRINGS = (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()))

KINDS = st.recursive(
    st.sampled_from((*SCALARS, *STRINGS)),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(lambda kind: pa.list_(kind, 2)),
        st.dictionaries(NAMES, inner, max_size=3).map(lambda fields: pa.struct(list(fields.items()))),
    ),
    max_leaves=4,
)


def values_of(kind):
    if pa.types.is_struct(kind):
        of_fields = {field.name: values_of(field.type) for field in kind}
        value = st.fixed_dictionaries(of_fields)
    elif pa.types.is_fixed_size_list(kind):
        value = st.lists(values_of(kind.value_type), min_size=2, max_size=2)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        value = st.lists(values_of(kind.value_type), max_size=3)
    else:
        value = TEXTS if kind in STRINGS else SCALARS[kind]
    return st.none() | value


@st.composite
def arrays(draw):
    """Arrays of any type, often a slice of a larger one."""
    kind = draw(KINDS)
    whole = pa.array(draw(st.lists(values_of(kind), max_size=6)), kind)
    start = draw(st.integers(0, len(whole)))
    return whole.slice(start, draw(st.integers(0, len(whole) - start)))


def plain(value):
    """Replace views by the texts that they show."""
    if isinstance(value, memoryview):
        assert len(value) > LONG_BYTES
        return str(value, "utf-8")
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


KEY = bytes(range(16))
HASHES = (RequestHash(None), RequestHash(KEY))


def of_definition(hashing, request):
    """Hash a request as a hash is defined."""

    def normal(value):
        if isinstance(value, dict):
            return {name: normal(each) for name, each in value.items() if each is not None}
        if isinstance(value, str) and hashing.key and len(text := value.encode()) > LONG_BYTES:
            return AESGCM(hashing.key).encrypt(bytes(12), b"", text).hex()
        return [normal(each) for each in value] if isinstance(value, list | tuple) else value

    whole = json.dumps(normal(request), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(whole.encode()).hexdigest()
    return f"{hashing.key.hex()}:{digest}" if hashing.key else digest


@settings(deadline=None)
@given(arrays())
def test_values_and_hashes_are_those_of_arrows_own(array):
    expected, found = array.to_pylist(), python_values(array)
    assert repr(list(map(plain, found))) == repr(expected)  # by repr, for which NaN is NaN
    for hashing in HASHES:
        assert [hashing.of([each]) for each in found] == [of_definition(hashing, [each]) for each in expected]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_the_hash_of_any_json_is_as_defined(value):
    for hashing in HASHES:
        assert hashing.of([value]) == of_definition(hashing, [value])


@pytest.mark.parametrize("null_images", [False, True])
def test_long_texts_are_not_copied(null_images):
    image = base64.b64encode(bytes(LONG)).decode()
    array = pa.array([image, None if null_images else image, "short", "я" * LONG])
    view = memoryview
    assert list(map(type, python_values(array))) == [view, type(None) if null_images else view, str, view]
