"""The text of a key: its form, its checksum, and what may be shown of it."""

import hashlib
import re
import zlib

import pytest

from services.tenants import keys


def test_a_key_has_the_documented_form_and_parses_to_what_is_stored_of_it():
    text, parts = keys.generate()
    assert re.fullmatch(r"mw_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", text)
    assert parts == keys.parse(text)
    assert parts.key_id == f"key_{text[3:11]}"
    assert parts.secret_sha256 == hashlib.sha256(text[12:55].encode()).digest()


def test_the_last_six_characters_are_the_crc_32_of_the_rest():
    text, _ = keys.generate()
    number = 0
    for digit in text[-6:]:
        number = number * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(digit)
    assert number == zlib.crc32(text[:-6].encode())


def test_keys_do_not_repeat():
    assert len({keys.generate()[0] for _ in range(200)}) == 200


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: None,
        lambda text: "",
        lambda text: "mw_",
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text[:20] + ("a" if text[20] != "a" else "b") + text[21:],
        lambda text: text.replace("mw_", "mx_"),
        lambda text: text[:12] + "é" + text[13:],
        lambda text: "٣" * len(text),
    ],
)
def test_anything_else_is_nobody(damage):
    assert keys.parse(damage(keys.generate()[0])) == keys.NOBODY


def test_redaction_keeps_the_public_id_and_no_more():
    text, _ = keys.generate()
    shown = keys.redact(f"/v1/jobs/{text}?x={text[:30]}")
    assert text[3:11] in shown
    assert text[12:20] not in shown
