"""The join against a simple oracle, over any mix of shuffle, split, loss, duplication and foreign rows."""

import hashlib
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vision_batch.service.join import ResultRow, SentRequest, join, marker_line
from vision_batch.service.request_hash import RequestHash

request_hash = RequestHash(bytes(16)).of

TEXTS = st.text(alphabet="abж \n[]ref:0", max_size=12)
IMAGES = st.text(alphabet="AB", max_size=3).map(lambda text: text * 2000)


def whole(text: str, image: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "text", "text": text}, {"type": "image", "image": image}]}]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@st.composite
def sent_and_returned(draw, *, marker: bool):
    """Requests; for each how many rows came back, null or not; foreign rows; all shuffled, cut into files."""
    bodies = draw(st.lists(st.tuples(TEXTS, IMAGES), max_size=12))
    requests, echoes = [], []
    for row, (text, image) in enumerate(bodies):
        name = hashlib.sha256(str(row).encode()).hexdigest()[: draw(st.sampled_from([8, 32]))]
        prompt = f"{text}\n\n{marker_line(name)}" if marker else text
        requests.append(SentRequest(row, name, sha(prompt), request_hash(whole(prompt, image))))
        echoes.append((prompt, image))
    rows = []
    for row, (prompt, image) in enumerate(echoes):
        for copy in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
            response = draw(st.sampled_from([f"answer {row}.{copy}", None]))
            rows.append((row, ResultRow(prompt, response, request_hash(whole(prompt, image)))))
    for number in range(draw(st.integers(0, 3))):
        text = draw(st.sampled_from(["", "someone else's", f"theirs\n[ref: ffffffff{number:08x}]"]))
        strange = f"{text} {number} not among the texts"
        rows.append((None, ResultRow(strange, "foreign", request_hash(whole(strange, "Z")))))
    rows = draw(st.permutations(rows))
    cut = draw(st.integers(0, len(rows)))
    return requests, [rows[cut:], rows[:cut]]


def key_of(request: SentRequest, requests: list[SentRequest], *, marker: bool) -> str:
    texts = Counter(each.text_sha256 for each in requests)
    if marker:
        return request.marker
    return request.text_sha256 if max(texts.values()) == 1 else str(request.request_hash)


def check(requests, files, *, marker: bool):
    rows = [row for file in files for row in file]
    joined = join(requests, [row for _, row in rows], marker=marker)

    groups: dict[str, list[int]] = {}
    for request in requests:
        groups.setdefault(key_of(request, requests, marker=marker), []).append(request.row)
    owner = {number: key for key, numbers in groups.items() for number in numbers}
    came = Counter(owner[row] for row, _ in rows if row is not None)

    assert joined.foreign == sum(row is None for row, _ in rows)
    assert joined.duplicates == sum(max(0, came[key] - len(numbers)) for key, numbers in groups.items())
    assert len(joined.missing) == sum(max(0, len(numbers) - came[key]) for key, numbers in groups.items())
    assert joined.responses.keys() | joined.missing == {request.row for request in requests}
    assert not joined.responses.keys() & joined.missing
    assert len(rows) == len(joined.responses) + joined.duplicates + joined.foreign
    for number, response in joined.responses.items():
        given = [row.response for of, row in rows if of is not None and owner[of] == owner[number]]
        if len(groups[owner[number]]) == 1:
            assert response == next((each for each in given if each is not None), None)
        else:
            assert response in given


@given(sent_and_returned(marker=True))
def test_with_markers(case):
    check(*case, marker=True)


@given(sent_and_returned(marker=False))
def test_without_markers(case):
    check(*case, marker=False)


@given(sent_and_returned(marker=True), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_count_and_no_single_answer(case, random):
    requests, files = case
    rows = [row for file in files for _, row in file]
    first = join(requests, rows, marker=True)
    random.shuffle(rows)
    second = join(requests, rows, marker=True)
    assert (first.duplicates, first.foreign, first.missing) == (second.duplicates, second.foreign, second.missing)
    texts = Counter(row.text for row in rows)
    for request in requests:
        if texts and request.row in first.responses and sum(request.marker in text for text in texts.elements()) == 1:
            assert first.responses[request.row] == second.responses[request.row]
