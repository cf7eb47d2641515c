"""What a key may be allowed to do: one scope to look at each kind of thing, one to change it."""

from __future__ import annotations

from collections.abc import Iterable

from services.errors import InsufficientScope, InvalidRequest, Problem

RESOURCES = ("jobs", "models", "datasets", "checkpoints", "sweeps", "webhooks", "keys")
"""What can be both looked at and changed."""

EVERYTHING = "*"
SCOPES = tuple(f"{resource}:{verb}" for resource in RESOURCES for verb in ("read", "write"))
SCOPES += ("usage:read", "audit:read", EVERYTHING)


def check_scopes(scopes: Iterable[str]) -> list[str]:
    """Return scopes in the order of the list, each once.

    Raises:
        InvalidRequest: ``unknown_scope`` for each that there is not, or when there are none at all.
    """
    asked = list(scopes)
    known = ", ".join(SCOPES)
    problems = [
        Problem("unknown_scope", f"There is no scope {one[:40]!r}.", f"/scopes/{index}", f"One of {known}.")
        for index, one in enumerate(asked)
        if one not in SCOPES
    ]
    if not asked:
        problems = [Problem("unknown_scope", "A key needs at least one scope.", "/scopes", f"One of {known}.")]
    if problems:
        raise InvalidRequest(problems)
    return [one for one in SCOPES if one in asked]


def check_grant(scopes: Iterable[str], *, of: Iterable[str]) -> None:
    """Refuse to give away what the giver, who has the scopes ``of``, has not.

    Raises:
        InsufficientScope: naming what is missing.
    """
    missing = sorted(set(scopes) - set(of))
    if missing and EVERYTHING not in of:
        raise InsufficientScope(f"A key can give only scopes that it has: yours lacks {', '.join(missing)}.")
