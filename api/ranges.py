"""Conditional and range requests (RFC 9110 §13, §14) over content that never changes, as functions of header values."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.errors import RangeNotSatisfiable

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*\Z", re.IGNORECASE)
_MAX_HEADER_CHARACTERS = 128
_MAX_DIGITS = 18  # more than any file has; longer ones are cut to "beyond the end"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from ``start`` to ``end`` (exclusive) of a content of ``size`` bytes."""

    start: int
    end: int
    size: int

    @property
    def content_range(self) -> str:
        """The ``Content-Range`` of this span."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def parse_range(header: str | None, size: int) -> Span | None:
    """Return the one span that ``header`` asks for, or None when the whole content is the answer.

    Several ranges, other units and malformed ranges are ignored, as RFC 9110 allows; their parts are never looked at,
    so ten thousand of them cost what one costs.

    Raises:
        RangeNotSatisfiable: the span begins past the end, or is empty.
    """
    if header is None or len(header) > _MAX_HEADER_CHARACTERS:
        return None
    match = _ONE_RANGE.match(header)
    if match is None or match.groups() == ("", ""):
        return None
    return _suffix(match[2], size) if match[1] == "" else _slice(match[1], match[2], size)


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` names this content (weak comparison): then the answer is 304."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))


def range_applies(if_range: str | None, etag: str) -> bool:
    """Whether ``If-Range`` allows a partial answer: strong comparison; a date never matches, we publish none."""
    return if_range is None or if_range.strip() == etag


def _suffix(digits: str, size: int) -> Span:
    length = _number(digits)
    if length == 0 or size == 0:
        raise RangeNotSatisfiable(size)
    return Span(max(0, size - length), size, size)


def _slice(first: str, last: str, size: int) -> Span | None:
    start = _number(first)
    end = _number(last) + 1 if last else size
    if last and end <= start:
        return None  # malformed: ends before it begins
    if start >= size:
        raise RangeNotSatisfiable(size)
    return Span(start, min(end, size), size)


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _MAX_DIGITS else 10**_MAX_DIGITS
