"""JSON Pointers (RFC 6901) into a base request: where they lead, and a request with a value put there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from services.errors import Problem
from services.jobs.schema import JobRequest
from services.training.problems import escape, nearest

SWEEPABLE = ("model", "data", "training", "init_from")
"""What a trial may differ in; the rest is the same for all of them, or set by the sweep."""
MAX_CHARACTERS = 500
_FORM = re.compile(r"(/([^~/]|~[01])*)+\Z")
_INDEX = re.compile(r"(0|[1-9][0-9]*)\Z")


def place(pointer: str) -> str:
    """Return where the request of a sweep says something about ``pointer``."""
    return f"/space/{escape(pointer)}"


def check_pointers(base: Mapping[str, Any], pointers: Sequence[str]) -> list[Problem]:
    """Return what is wrong with the pointers of a space: form, place, and two that say something about one field."""
    problems = [problem for pointer in pointers if (problem := _check(base, pointer)) is not None]
    for pointer in pointers:
        inside = next((other for other in pointers if pointer.startswith(f"{other}/")), None)
        if inside is not None:
            detail = f"{pointer} lies inside {inside}, which the space replaces as a whole."
            problems.append(Problem("conflict", detail, place(pointer), "Leave one of them out."))
    return problems


def put(document: Any, pointer: str, value: object) -> Any:  # noqa: ANN401 - any JSON
    """Return ``document`` with ``value`` at ``pointer``, which `check_pointers` found good; nothing else is copied."""
    return _put(document, _parts(pointer), value)


def exists(document: object, pointer: str) -> bool:
    """Return whether something stands at ``pointer`` already."""
    *_, (holder, part) = _walk(document, _parts(pointer))
    return _holds(holder, part)


def _check(base: Mapping[str, Any], pointer: str) -> Problem | None:
    if len(pointer) > MAX_CHARACTERS or not _FORM.match(pointer):
        detail = (
            f"{pointer[:80]!r} is no JSON Pointer: each part begins with /, and ~ is written ~0, / inside a part ~1."
        )
        return Problem("invalid_pointer", detail, place(pointer), "For example /training/optimizer/lr.")
    parts = _parts(pointer)
    if parts[0] not in SWEEPABLE:
        return _not_sweepable(pointer, parts[0])
    for depth, (holder, part) in enumerate(_walk(base, parts), start=1):
        last = depth == len(parts)
        if not _holds(holder, part) and not (last and isinstance(holder, Mapping)):
            return _unknown(pointer, parts[: depth - 1], holder, part)
    return None


def _not_sweepable(pointer: str, root: str) -> Problem:
    if root in JobRequest.model_fields:
        detail = f"A sweep cannot change /{root}: it is the same for all trials."
        hint = f"Trials may differ below {', '.join(f'/{name}' for name in SWEEPABLE)}."
        return Problem("not_sweepable", detail, place(pointer), hint)
    return Problem("unknown_pointer", f"A job has no /{root[:80]}.", place(pointer), nearest(root, SWEEPABLE))


def _unknown(pointer: str, before: Sequence[str], holder: object, part: str) -> Problem:
    where = "".join(f"/{escape(one)}" for one in before)
    if isinstance(holder, str):
        detail = f"{where} of the base is text; a pointer cannot reach into it."
        hint = "Write it as an object, give the definition a parameter, or sweep whole texts with `choice`."
    elif isinstance(holder, Mapping):
        detail = f"{where} of the base has no {part[:80]!r} that something could stand in."
        hint = nearest(part, sorted(holder)) if holder else "Give the base that object first."
    elif isinstance(holder, list):
        detail, hint = f"{where} of the base is a list of {len(holder)}; it has no place {part[:80]!r}.", None
    else:
        detail, hint = f"{where} of the base has no members.", None
    return Problem("unknown_pointer", detail, place(pointer), hint)


def _walk(document: object, parts: Sequence[str]) -> list[tuple[object, str]]:
    """Return what each part is looked up in; it ends with the part that is not there."""
    steps: list[tuple[object, str]] = []
    for part in parts:
        steps.append((document, part))
        if not _holds(document, part):
            break
        document = document[int(part)] if isinstance(document, list) else document[part]  # type: ignore[index]  # it holds the part
    return steps


def _holds(holder: object, part: str) -> bool:
    if isinstance(holder, list):
        return _INDEX.match(part) is not None and len(part) < 10 and int(part) < len(holder)
    return isinstance(holder, Mapping) and part in holder


def _put(document: Any, parts: Sequence[str], value: object) -> Any:  # noqa: ANN401 - any JSON
    if not parts:
        return value
    first, rest = parts[0], parts[1:]
    if isinstance(document, list):
        index = int(first)
        return [*document[:index], _put(document[index], rest, value), *document[index + 1 :]]
    return {**document, first: _put(document.get(first), rest, value)}


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
