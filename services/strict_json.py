"""JSON from outside, within limits: the text is measured before anything is built from it.

`json.loads` alone accepts duplicate keys, NaN and 1e400, and recurses as deep as the text says. Here the strings are
blanked first, so that brackets, commas and digits can be counted at C speed on what remains; only a text within the
limits reaches the parser.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NoReturn

from services.errors import BodyTooLarge, InvalidJson, InvalidRequest, Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_NUMBER_CHARACTERS = 32

# Possessive, and satisfied by the end of the text too: an unterminated string is passed over once, not once per quote.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_LONG_NUMBER = re.compile(rf"[-+0-9.eE]{{{MAX_NUMBER_CHARACTERS + 1},}}")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{},"0123456789nft'))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_SHOWN_CHARACTERS = 80


def loads(body: bytes, *, max_bytes: int = MAX_BYTES) -> object:
    """Return what the UTF-8 JSON text ``body`` says.

    Raises:
        BodyTooLarge: longer than ``max_bytes``.
        InvalidJson: not JSON (``offset`` in bytes), or beyond a limit: ``json_too_deep``, ``json_too_many_nodes``,
            ``json_number_too_long``, ``json_non_finite``, ``json_duplicate_key``, ``json_invalid_string``.
        InvalidRequest: ``invalid_character``, a NUL inside a string (no database text may hold one).
    """
    if len(body) > max_bytes:
        raise BodyTooLarge(f"The body may have at most {max_bytes} bytes.")
    text = _decode(body)
    _check_limits(text)
    document = _parse(text)
    if "\\u0000" in text or _SURROGATE_ESCAPE.search(text):
        _check_strings(document)
    return document


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not UTF-8 at byte {error.start}.", offset=error.start) from None


def _check_limits(text: str) -> None:
    """Measure depth, nodes and numbers on the text without its strings, before any recursion could happen."""
    skeleton = _STRING.sub('"', text)
    if _LONG_NUMBER.search(skeleton):
        detail = f"A number may have at most {MAX_NUMBER_CHARACTERS} characters."
        raise InvalidJson(detail, code="json_number_too_long")
    encoded = skeleton.encode("utf-8", "replace")
    brackets = encoded.translate(None, _NOT_BRACKETS)
    # 50 000 nodes have at most 100 000 brackets: deeper nesting beyond them is refused as too many nodes anyway.
    steps = (_STEP[bracket] for bracket in brackets[: 2 * MAX_NODES + 2])
    if any(depth > MAX_DEPTH for depth in accumulate(steps)):
        raise InvalidJson(f"Arrays and objects may be nested at most {MAX_DEPTH} deep.", code="json_too_deep")
    if _count_nodes(encoded) > MAX_NODES:
        raise InvalidJson(f"The body may hold at most {MAX_NODES} values.", code="json_too_many_nodes")


def _count_nodes(skeleton: bytes) -> int:
    """Count the values (object keys are none): the commas, and one for each container that is not empty, and the root.

    Exact for every valid text; a text that is not valid is refused afterwards whatever the count says.
    """
    packed = skeleton.translate(None, _NOT_STRUCTURE)
    containers = packed.count(b"[") + packed.count(b"{")
    empty = packed.count(b"[]") + packed.count(b"{}")
    return 1 + packed.count(b",") + containers - empty


def _parse(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=_finite_float, parse_constant=_refuse_non_finite)
    except json.JSONDecodeError as error:
        raise _syntax_error(error) from None


def _syntax_error(error: json.JSONDecodeError) -> InvalidJson | InvalidRequest:
    if error.doc[error.pos : error.pos + 1] == "\0" and error.msg.startswith("Invalid control character"):
        return InvalidRequest([_nul("")])
    offset = len(error.doc[: error.pos].encode("utf-8"))
    place = f"line {error.lineno} column {error.colno} (byte {offset})"
    return InvalidJson(f"The body is not valid JSON: {error.msg} at {place}.", offset=offset)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        detail = f"The key {json.dumps(twice[:_SHOWN_CHARACTERS])} is given twice in one object."
        raise InvalidJson(detail, code="json_duplicate_key")
    return members


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse_non_finite(digits)
    return number


def _refuse_non_finite(literal: str) -> NoReturn:
    detail = f"{literal} is not a finite number; JSON has none but finite ones."
    raise InvalidJson(detail, code="json_non_finite")


def _check_strings(document: object) -> None:
    for pointer, string in _strings(document, ""):
        if "\0" in string:
            raise InvalidRequest([_nul(pointer)])
        try:
            string.encode("utf-8")
        except UnicodeEncodeError:
            where = pointer.encode("utf-8", "replace").decode("utf-8") or "the top"
            detail = f"The string at {where} holds half of a surrogate pair, which is no character."
            raise InvalidJson(detail, code="json_invalid_string") from None


def _strings(value: object, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield every string below ``value``, keys included, with its JSON Pointer."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{pointer}/{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            yield below, key
            yield from _strings(item, below)


def _nul(pointer: str) -> Problem:
    shown = pointer.replace("\0", "\\u0000")
    return Problem("invalid_character", "A string may not hold the NUL character (U+0000).", shown)
