"""How a reader says that a file is not as it must be."""

from __future__ import annotations

from typing import NoReturn

from services.errors import InvalidRequest, Problem

UNSUPPORTED = "unsupported_format"
"""The code of files that no reader takes; HTTP 415."""


def refuse(code: str, detail: str, *, hint: str | None = None) -> NoReturn:
    """Raise the refusal of a file.

    Raises:
        InvalidRequest: always.
    """
    raise InvalidRequest([Problem(code, detail, hint=hint)])


def shown(text: str, characters: int = 60) -> str:
    """Return a cell or a name as it may stand in a message."""
    return repr(text if len(text) <= characters else text[:characters] + "…")
