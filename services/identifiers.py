"""Object identifiers: a prefix that says what, then a time-ordered random part (``job_06f8…``)."""

from __future__ import annotations

import os
import re
import time

from services.errors import InvalidRequest, Problem

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: sorts as it counts
_LENGTH = 26  # 26 × 5 bits hold 128: 48 of milliseconds, 80 random (the ULID layout)
_FORM = re.compile(rf"[a-z]{{2,4}}_[{_ALPHABET}]{{{_LENGTH}}}\Z")


def new_id(prefix: str, *, milliseconds: int | None = None) -> str:
    """Return a new identifier; later ones sort after earlier ones, to the millisecond.

    Args:
        milliseconds: the time since 1970 where another clock than this process's decides (`services.db.clock`).
    """
    now = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    number = now << 80 | int.from_bytes(os.urandom(10), "big")
    digits = (_ALPHABET[(number >> shift) & 31] for shift in range((_LENGTH - 1) * 5, -1, -5))
    return f"{prefix}_{''.join(digits)}"


def check_id(identifier: str, prefix: str) -> str:
    """Return ``identifier`` if it has the form of a ``prefix`` id.

    Raises:
        InvalidRequest: code ``invalid_id``.
    """
    if not _FORM.match(identifier) or not identifier.startswith(f"{prefix}_"):
        raise InvalidRequest(
            [Problem("invalid_id", f"An id here looks like {prefix}_ and {_LENGTH} characters of 0-9a-z.")]
        )
    return identifier
