"""The text of an API key: ``mw_<8 id>_<43 secret><6 checksum>``, in base 62 so that a double click selects it whole.

The id is public and finds the row; of the secret (256 random bits) only the sha256 is kept; the CRC-32 lets scanners
for leaked secrets tell a key from noise without asking us.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH, _SECRET_LENGTH, _CHECKSUM_LENGTH = 8, 43, 6  # 62^43 > 2^256, 62^6 > 2^32
_FORM = re.compile(
    rf"(mw_([0-9A-Za-z]{{{_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}}))([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})\Z"
)
_IN_TEXT = re.compile(r"mw_([0-9A-Za-z]{1,8})_[0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class KeyText:
    """The two parts of a well-formed key."""

    key_id: str
    secret_sha256: bytes


NOBODY = KeyText("key_00000000", hashlib.sha256(b"").digest())
"""What a missing or malformed key is compared as, so that refusing it costs what refusing a wrong one costs."""


def generate() -> tuple[str, KeyText]:
    """Return a new key: its text, to be shown once, and what is stored of it."""
    body = f"mw_{_random(_ID_LENGTH)}_{_base62(secrets.randbits(256), _SECRET_LENGTH)}"
    text = body + _checksum(body)
    return text, parse(text)


def parse(text: str | None) -> KeyText:
    """Return the parts of ``text``, or ``NOBODY`` when it is no key or its checksum is wrong."""
    match = _FORM.match(text or "")
    if match is None or _checksum(match[1]) != match[4]:
        return NOBODY
    return KeyText(f"key_{match[2]}", hashlib.sha256(match[3].encode("ascii")).digest())


def redact(text: str) -> str:
    """Return ``text`` with the secret of every key in it blotted out; the public id stays."""
    return _IN_TEXT.sub(r"mw_\1_…", text) if "mw_" in text else text


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), _CHECKSUM_LENGTH)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
