"""The JSON loader: what it accepts is exactly JSON, and every limit holds at its edge."""

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import strict_json
from services.errors import BodyTooLarge, InvalidJson, InvalidRequest

MIB = 1 << 20

ODDITIES = {
    "depth 65": (b"[" * 65 + b"]" * 65, "json_too_deep"),
    "depth 65 in objects": (b'{"a":' * 65 + b"1" + b"}" * 65, "json_too_deep"),
    "depth 100 000": (b"[" * 100_000 + b"]" * 100_000, "json_too_deep"),
    "depth 100 000, never closed": (b"[" * 100_000, "json_too_deep"),
    "deep in objects": (b'{"a":' * 100_000, "json_too_deep"),
    "50 001 nodes": (b"[" + b",".join([b"1"] * 50_000) + b"]", "json_too_many_nodes"),
    "many empty arrays": (b"[" + b"[]," * 60_000 + b"[]]", "json_too_many_nodes"),
    "a duplicate key": (b'{"a": 1, "a": 1}', "json_duplicate_key"),
    "a duplicate key spelt with an escape": (b'{"a": 1, "\\u0061": 2}', "json_duplicate_key"),
    "a duplicate key far down": (b'[{"x": {"k": [], "k": {}}}]', "json_duplicate_key"),
    "NaN": (b"[NaN]", "json_non_finite"),
    "Infinity": (b'{"a": Infinity}', "json_non_finite"),
    "-Infinity": (b"-Infinity", "json_non_finite"),
    "1e400": (b"[1e400]", "json_non_finite"),
    "5 000 digits": (b"[" + b"7" * 5000 + b"]", "json_number_too_long"),
    "33 characters": (b"[-1." + b"0" * 30 + b"]", "json_number_too_long"),
    "half a surrogate pair": (b'{"a": "\\ud800"}', "json_invalid_string"),
    "the other half": (b'["\\uDfff"]', "json_invalid_string"),
    "a key of half a pair": (b'{"\\ud800": 1}', "json_invalid_string"),
    "an unterminated string": (b'{"a": "b', "invalid_json"),
    "a million quotes": (b'"' * MIB, "invalid_json"),
    "half a million escaped quotes": (b'"' + b'\\"' * (MIB // 2 - 1), "invalid_json"),
    "an escape cut off": (b'"' + b'\\"' * (MIB // 2 - 2) + b"\\", "invalid_json"),
    "a trailing comma": (b"[1,]", "invalid_json"),
    "single quotes": (b"{'a': 1}", "invalid_json"),
    "a comment": (b"{} // no", "invalid_json"),
    "two documents": (b"{} {}", "invalid_json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "invalid_json"),
    "a control character": (b'["\x01"]', "invalid_json"),
    "a leading zero": (b"[01]", "invalid_json"),
    "a bare word": (b"hello", "invalid_json"),
    "Latin-1": (b'{"a": "\xe9"}', "invalid_json"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "invalid_json"),
}


@pytest.mark.parametrize(("body", "code"), ODDITIES.values(), ids=ODDITIES)
def test_what_is_not_json_or_beyond_a_limit_is_refused_by_name(body, code):
    with pytest.raises(InvalidJson) as caught:
        strict_json.loads(body)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 64 + b"]" * 64,
        b"[" + b",".join([b"1"] * 49_999) + b"]",
        b"[-1." + b"0" * 29 + b"]",
        b'{"a": "' + b"x" * (MIB - 9) + b'"}',
        b'["\\ud83d\\ude00", "\\\\ud800", "\\\\u0000", "[[[[{{{{,,,,"]',
        b" \t\r\n null \n",
    ],
    ids=["depth 64", "50 000 nodes", "32 characters", "1 MiB", "escapes that are fine", "white space"],
)
def test_what_lies_on_a_limit_is_accepted(body):
    assert strict_json.loads(body) == json.loads(body)


def test_one_byte_more_than_the_limit_is_too_large():
    with pytest.raises(BodyTooLarge):
        strict_json.loads(b" " * MIB + b"1")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"model": {"layers": ["a", "b\\u0000c"]}}', "/model/layers/1"),
        (b'{"a/b": {"~": "\\u0000"}}', "/a~1b/~0"),
        (b'{"a\\u0000": 1}', "/a\\u0000"),
        (b'{"a": "\x00"}', ""),
    ],
)
def test_nul_is_an_invalid_character_with_its_place(body, pointer):
    with pytest.raises(InvalidRequest) as caught:
        strict_json.loads(body)
    assert [(problem.code, problem.pointer) for problem in caught.value.problems] == [("invalid_character", pointer)]


@pytest.mark.parametrize(
    ("body", "offset"), [(b'{"a": }', 6), ('{"é": }'.encode(), 7), (b"", 0), (b'["\xff"]', 2), (b'{"a": 1} x', 9)]
)
def test_a_syntax_error_says_at_which_byte(body, offset):
    with pytest.raises(InvalidJson) as caught:
        strict_json.loads(body)
    assert (caught.value.code, caught.value.offset) == ("invalid_json", offset)


def test_no_text_of_brackets_can_crash_the_process():
    program = (
        "import sys; from services import strict_json, errors\n"
        "for text in (b'[' * 10**6, b'{\"a\":' * 10**5, b'[' * 10**5 + b']' * 10**5):\n"
        "    try: strict_json.loads(text)\n"
        "    except errors.InvalidJson as error: assert error.code == 'json_too_deep', error.code\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text("ab[]{},\"'\\/~é", max_size=4), inner, max_size=6)
    ),
    max_leaves=40,
)


def count_values(value):
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(count_values(item) for item in below)


@given(json_values, st.sampled_from([None, 1]), st.booleans())
def test_any_json_value_comes_back_equal_and_its_nodes_are_counted_exactly(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert strict_json.loads(text.encode()) == value
    skeleton = strict_json._STRING.sub('"', text).encode()
    assert strict_json._count_nodes(skeleton) == count_values(value)


@given(st.text('[]{},:"\\ue0 1nNaI-+.tf', max_size=60))
def test_no_text_raises_anything_but_our_errors_and_what_passes_is_what_json_says(text):
    try:
        value = strict_json.loads(text.encode())
    except (InvalidJson, InvalidRequest):
        return
    assert value == json.loads(text)
    assert not (isinstance(value, float) and not math.isfinite(value))
