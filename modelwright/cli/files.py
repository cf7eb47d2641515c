"""Reading JSON files, strictly: what would be lost or mended silently is refused with its place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from modelwright.cli.exits import UsageError


def read_job(path: str) -> dict[str, Any]:
    """Return the job in the file ``path``, or on standard input for ``-``.

    Raises:
        UsageError: as `read_document`.
    """
    return read_document(path, "a job")


def read_document(path: str, what: str) -> dict[str, Any]:
    """Return the JSON object in the file ``path``, or on standard input for ``-``; ``what`` it should be.

    Raises:
        UsageError: it cannot be read, or is not one JSON object; the message names line and column.
    """
    name = "standard input" if path == "-" else path
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{name} cannot be read: {reason}.") from error
    return parse_document(text, name, what)


def parse_document(text: str, name: str, what: str) -> dict[str, Any]:
    """Return the JSON object in ``text``; messages call it ``name``.

    Raises:
        UsageError: it is not one JSON object; the message names line and column.
    """
    try:
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise UsageError(f"{name} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON as we take it: {error}.") from error
    if not isinstance(document, dict):
        raise UsageError(f"{name} must hold one JSON object, {what}.")
    return document


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'"{twice}" stands twice in one object')
    return made
