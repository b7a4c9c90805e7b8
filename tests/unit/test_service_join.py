"""The join, case by case."""

import hashlib

import pytest

from vision_batch.errors import ReconcileError
from vision_batch.service.join import (
    ResultRow,
    SentRequest,
    find_marker,
    join,
    marker_line,
    needs_whole_requests,
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def marked(row: int, marker: str) -> SentRequest:
    return SentRequest(row, marker, sha(f"What?\n\n{marker_line(marker)}"))


def echo(marker: str, response: str | None) -> ResultRow:
    return ResultRow(f"What?\n\n{marker_line(marker)}", response)


A, B, C = "0" * 8, "1" * 8, "abcdef12"


class TestMarkers:
    def test_shuffled_rows_find_their_requests(self):
        joined = join([marked(0, A), marked(1, B)], [echo(B, "b"), echo(A, "a")], marker=True)
        assert joined.responses == {0: "a", 1: "b"}
        assert (joined.duplicates, joined.foreign, joined.missing) == (0, 0, frozenset())

    def test_every_loss_and_surplus_is_counted(self):
        rows = [echo(A, "a"), echo(A, "again"), echo(C, "whose?"), ResultRow("no marker", "x")]
        joined = join([marked(0, A), marked(1, B)], rows, marker=True)
        assert joined.responses == {0: "a"}
        assert (joined.duplicates, joined.foreign, joined.missing) == (1, 2, frozenset({1}))

    def test_a_null_response_is_a_row_that_came(self):
        joined = join([marked(0, A)], [echo(A, None)], marker=True)
        assert joined.responses == {0: None}
        assert not joined.missing

    def test_a_repeated_row_brings_what_the_first_one_lacked(self):
        joined = join([marked(0, A)], [echo(A, None), echo(A, "late"), echo(A, "later")], marker=True)
        assert (joined.responses, joined.duplicates) == ({0: "late"}, 2)

    @pytest.mark.parametrize("clash", [[marked(0, A), marked(1, A)]])
    def test_requests_that_cannot_be_told_apart_are_our_error(self, clash):
        with pytest.raises(ReconcileError, match="2 requests were sent with only 1 different markers"):
            join(clash, [], marker=True)

    @pytest.mark.parametrize("wrong", ["", "abc", "ABCDEF12", "g" * 8, "0" * 65, "abcdef12\n"])
    def test_a_marker_is_hex(self, wrong):
        with pytest.raises(ReconcileError, match="8 to 64 lower-case hex digits"):
            marker_line(wrong)

    def test_the_last_marker_line_wins_over_data_that_looks_like_one(self):
        text = f"Describe: {marker_line(A)}\n{marker_line(B)}\nand more\n\n{marker_line(C)}"
        assert find_marker(text) == C

    @pytest.mark.parametrize("text", ["", "no", f"in a line {marker_line(A)}", "[ref: xyz]", "[ref: 1234567]"])
    def test_what_is_no_marker_line(self, text):
        assert find_marker(text) is None

    @pytest.mark.parametrize("ending", ["", "\n", "  \n\n", "\r\n"])
    def test_space_around_a_marker_line_does_no_harm(self, ending):
        assert find_marker(f"What?\r\n\r\n  {marker_line(A)}{ending}") == A

    def test_a_longer_marker_is_not_its_beginning(self):
        long = A + "ff" * 4
        joined = join([marked(0, A), marked(1, long)], [echo(long, "long"), echo(A, "short")], marker=True)
        assert joined.responses == {0: "short", 1: "long"}


class TestWithoutMarkers:
    def test_texts_that_all_differ_join_by_text_whatever_became_of_the_image(self):
        requests = [SentRequest(0, "", sha("one"), "h0"), SentRequest(1, "", sha("two"), "h1")]
        rows = [ResultRow("two", "2", "re-encoded"), ResultRow("one", "1", None)]
        assert not needs_whole_requests(requests, marker=False)
        assert join(requests, rows, marker=False).responses == {0: "1", 1: "2"}

    def test_texts_that_repeat_join_by_the_whole_request(self):
        requests = [SentRequest(0, "", sha("same"), "h0"), SentRequest(1, "", sha("same"), "h1")]
        rows = [ResultRow("same", "1", "h1"), ResultRow("same", "?", "re-encoded")]
        joined = join(requests, rows, marker=False)
        assert needs_whole_requests(requests, marker=False)
        assert (joined.responses, joined.foreign, joined.missing) == ({1: "1"}, 1, frozenset({0}))

    def test_requests_equal_in_every_byte_are_answered_in_turn(self):
        requests = [SentRequest(row, "", sha("same"), "h") for row in range(3)]
        rows = [ResultRow("same", answer, "h") for answer in ("a", "b")]
        joined = join(requests, rows, marker=False)
        assert (joined.responses, joined.missing, joined.duplicates) == ({0: "a", 1: "b"}, frozenset({2}), 0)

    def test_a_hash_that_is_needed_and_absent_is_our_error(self):
        requests = [SentRequest(0, "", sha("same"), "h0"), SentRequest(1, "", sha("same"))]
        with pytest.raises(ReconcileError, match="row 1 has no hash"):
            join(requests, [], marker=False)


def test_nothing_sent_nothing_joined():
    joined = join([], [echo(A, "a")], marker=True)
    assert (joined.responses, joined.foreign) == ({}, 1)
