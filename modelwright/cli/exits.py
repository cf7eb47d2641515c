"""How a command ends: its exit code, and what it says when something went wrong.

====  ==============================================================
   0  done
   1  the service failed, or something that has no code of its own
   2  the command line or the job file is wrong
   3  the service found the job invalid
   4  no key, or the key is refused
   5  no such job or checkpoint
   6  the job's state does not allow it
   7  the service does not answer
   8  the job that was watched failed
   9  the job that was watched was cancelled
  10  the download does not match its checksum
 130  interrupted
====  ==============================================================
"""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.text import Text

from modelwright import errors


class Exit(IntEnum):
    """Exit codes; they are part of the interface."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    NO_ACCESS = 4
    NOT_FOUND = 5
    CONFLICT = 6
    NO_CONNECTION = 7
    JOB_FAILED = 8
    JOB_CANCELLED = 9
    CORRUPT = 10
    INTERRUPTED = 130


_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (errors.InvalidRequest, Exit.INVALID),
    (errors.NoCredentials, Exit.NO_ACCESS),
    (errors.Unauthenticated, Exit.NO_ACCESS),
    (errors.Forbidden, Exit.NO_ACCESS),
    (errors.NotFound, Exit.NOT_FOUND),
    (errors.StateConflict, Exit.CONFLICT),
    (errors.ConnectionFailed, Exit.NO_CONNECTION),
    (errors.DownloadCorrupt, Exit.CORRUPT),
)

OF_STATE = {"succeeded": Exit.DONE, "failed": Exit.JOB_FAILED, "cancelled": Exit.JOB_CANCELLED}
"""What a watching command ends with, by the state of its job."""


class UsageError(Exception):
    """The command line, or a file that it names, is wrong."""

    hint: str | None = None


def code_of(error: Exception) -> Exit:
    """Return the exit code for an error."""
    if isinstance(error, UsageError):
        return Exit.USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED)


def explain(error: Exception, console: Console, *, as_json: bool) -> None:
    """Say on ``console`` (standard error) what went wrong, where in the request, and how to mend it."""
    if as_json:
        console.out(json.dumps({"error": _as_json(error)}), highlight=False)
        return
    problems = [one for one in getattr(error, "problems", ()) if one.pointer or one.parameter]
    console.print(Text.assemble(("✗ ", "bold red"), _headline(error, len(problems))), soft_wrap=True)
    for problem in problems:
        _explain_problem(problem, console)
    hint = getattr(error, "hint", None)
    if hint and hint not in {problem.hint for problem in problems}:
        console.print(Text.assemble(("  → ", "cyan"), hint), soft_wrap=True)
    if isinstance(error, errors.ServiceError) and error.request_id:
        console.print(Text(f"  request {error.request_id}", "dim"))


def _headline(error: Exception, problems: int) -> str:
    if problems:
        return f"The request is invalid: {problems} problem{'s' if problems > 1 else ''}"
    return error.detail if isinstance(error, errors.ApiError) else str(error)


def _explain_problem(problem: errors.Problem, console: Console) -> None:
    place = problem.pointer or problem.parameter
    if problem.column is not None:
        place += f" column {problem.column}"
    console.print(Text.assemble("\n  ", (place, "bold"), "  ", (problem.code, "yellow")), soft_wrap=True)
    console.print(Text(f"    {problem.detail}"))
    if problem.hint:
        console.print(Text.assemble(("    → ", "cyan"), problem.hint))


def _as_json(error: Exception) -> dict[str, Any]:
    if isinstance(error, errors.ApiError) and error.body:
        return {"status": error.status, **error.body}
    return {"code": type(error).__name__, "detail": str(error), "hint": getattr(error, "hint", None)}
