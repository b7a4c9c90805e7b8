"""Keys depend on what they name, never on the order in which it is given."""

from hypothesis import given
from hypothesis import strategies as st

from vision_batch.enrichment.identity import request_key, shard_key

VARIABLES = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=4)
ITEMS = st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.integers(1, 3)), max_size=5)


@given(VARIABLES, st.data())
def test_variables_have_no_order(variables, data):
    shuffled = dict(data.draw(st.permutations(list(variables.items()))))
    assert request_key("q", "h", variables) == request_key("q", "h", shuffled)


@given(ITEMS, st.data())
def test_items_have_no_order(items, data):
    shuffled = data.draw(st.permutations(items))
    assert shard_key("e", "d", "q", items) == shard_key("e", "d", "q", iter(shuffled))


@given(
    st.tuples(st.text(max_size=3), st.text(max_size=3), VARIABLES),
    st.tuples(st.text(max_size=3), st.text(max_size=3), VARIABLES),
)
def test_only_equal_requests_have_equal_keys(one, other):
    """Parts that run into each other, such as ``ab`` + ``c`` and ``a`` + ``bc``, are told apart."""
    assert (request_key(*one) == request_key(*other)) == (one == other)


@given(ITEMS, ITEMS)
def test_only_equal_shards_have_equal_keys(one, other):
    assert (shard_key("e", "d", "q", one) == shard_key("e", "d", "q", other)) == (sorted(one) == sorted(other))
