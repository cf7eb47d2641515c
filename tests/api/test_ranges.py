"""Range, If-Range and If-None-Match as functions of their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ranges import Span, is_unchanged, parse_range, range_applies
from services.errors import RangeNotSatisfiable

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=0-100", 0, 100),
        ("bytes=10-", 10, 100),
        ("bytes=99-99", 99, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-100", 0, 100),
        ("bytes=-1000", 0, 100),
        ("Bytes= 5-6 ", 5, 7),
        ("bytes=5-" + "9" * 60, 5, 100),
        ("bytes=000000000000000000000000005-6", 5, 7),
    ],
)
def test_one_range_is_a_span(header, start, end):
    assert parse_range(header, 100) == Span(start, end, 100)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=1-2,4-5",
        "bytes=" + ",".join(["0-0"] * 10_000),
        "bytes=" + "9" * 10_000 + "-",
        "items=0-5",
        "0-5",
        "bytes 0-5",
        "bytes=+1-5",
        "bytes=٣-٥",
        "bytes=1-5\n",
    ],
)
def test_several_ranges_and_nonsense_mean_the_whole(header):
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=100-", 100),
        ("bytes=100-200", 100),
        ("bytes=-0", 100),
        ("bytes=0-", 0),
        ("bytes=-5", 0),
        ("bytes=" + "9" * 60 + "-", 100),
    ],
)
def test_a_range_outside_cannot_be_satisfied(header, size):
    with pytest.raises(RangeNotSatisfiable) as caught:
        parse_range(header, size)
    assert caught.value.size_bytes == size


@given(st.integers(0, 300), st.none() | st.integers(0, 300), st.integers(0, 200))
def test_a_span_is_what_slicing_says(first, last, size):
    content = bytes(index % 251 for index in range(size))
    header = f"bytes={first}-{'' if last is None else last}"
    try:
        span = parse_range(header, size)
    except RangeNotSatisfiable:
        assert first >= size
        return
    if span is None:
        assert last is not None
        assert last < first
        return
    assert content[span.start : span.end] == content[first : None if last is None else last + 1]
    assert span.content_range == f"bytes {span.start}-{span.end - 1}/{size}"


@pytest.mark.parametrize(
    ("header", "same"),
    [
        (None, False),
        ("*", True),
        (TAG, True),
        (f"W/{TAG}", True),
        (f'"x", {TAG}', True),
        ('"x"', False),
        ("abc", False),
    ],
)
def test_if_none_match_compares_weakly(header, same):
    assert is_unchanged(header, TAG) is same


@pytest.mark.parametrize(
    ("header", "applies"),
    [(None, True), (TAG, True), (f"W/{TAG}", False), ('"x"', False), ("Mon, 23 Nov 2026 04:00:00 GMT", False)],
)
def test_if_range_compares_strongly(header, applies):
    assert range_applies(header, TAG) is applies
