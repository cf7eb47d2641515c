"""What `modelwright graph` asks the service for: a definition, a job or a request from a file, and the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.cli.exits import UsageError
from modelwright.cli.files import parse_document, read_document

Json = dict[str, Any]
_REQUEST_ONLY = {"gradients", "checkpoint", "mode", "dtype", "limits", "runs"}
"""Members that a request for a graph has, and a definition does not."""
FORMATS = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".json": "json"}
"""Suffix of a file → format of the picture in it."""
_FIRST_ROWS = "0-3"
_MAX_ROWS = 256


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command."""

    file: str | None
    inputs: str | None = None
    data: str | None = None
    rows: str | None = None
    checkpoint: str | None = None
    output_of: str | None = None
    leaves: Sequence[str] = ()
    gradients: bool = True


def graph_request(asked: Asked) -> Json:
    """Return the body of ``POST /v1/graphs``.

    Raises:
        UsageError: a file cannot be read, or options contradict each other.
    """
    if (asked.file is None) == (asked.checkpoint is None):
        raise UsageError("Give a FILE or a --checkpoint, one of them.")
    request: Json = {"checkpoint": asked.checkpoint} if asked.file is None else _from_file(asked.file)
    if asked.inputs and asked.data:
        raise UsageError("Give --inputs or --data, one of them.")
    if asked.rows and not asked.data:
        raise UsageError("--rows are rows of --data.")
    if asked.inputs:
        request = {**_without(request, "data"), "inputs": read_inputs(asked.inputs)}
    if asked.data:
        rows = _rows(asked.rows or _FIRST_ROWS)
        request = {**_without(request, "inputs"), "data": {"dataset": asked.data, "rows": rows}}
    return _with_gradients(request, asked)


def diff_request(asked: Asked, others: Sequence[str]) -> Json:
    """Return the body of ``POST /v1/graphs/diff``: the same model with the inputs of each run.

    Raises:
        UsageError: as `graph_request`.
    """
    request = graph_request(asked)
    first: Json = {name: request.pop(name) for name in ("inputs", "data") if name in request}
    request.pop("gradients", None)
    runs: list[Json] = [{"name": "run 1", **first}]
    runs += [{"name": f"run {index}", "inputs": read_inputs(text)} for index, text in enumerate(others, 2)]
    return {**request, "runs": runs}


def read_inputs(text: str) -> Json:
    """Return inputs by name, from JSON on the command line or in a file.

    Raises:
        UsageError: it is neither.
    """
    if text.lstrip().startswith("{"):
        return parse_document(text, "--inputs", "the inputs by name")
    return read_document(text, "the inputs by name")


def _from_file(file: str) -> Json:
    """A definition, a job (its model, and rows of its data), or a whole request for a graph."""
    document = read_document(file, "a model, a job or a request for a graph")
    if "training" in document and "model" in document:
        data = document.get("data") or {}
        if "dataset" not in data:
            return {"model": document["model"]}
        named = {"inputs": data["inputs"]} if isinstance(data.get("inputs"), list) else {}
        return {"model": document["model"], "data": {"dataset": data["dataset"], "rows": _rows(_FIRST_ROWS), **named}}
    if _REQUEST_ONLY & set(document) or isinstance(document.get("inputs"), dict):
        return document
    return {"model": document}


def _with_gradients(request: Json, asked: Asked) -> Json:
    if not asked.gradients:
        if asked.output_of or asked.leaves:
            raise UsageError("--output-of and --of ask for gradients, --no-gradients for none.")
        return _without(request, "gradients")
    wanted = dict(request.get("gradients") or {})
    wanted |= {"output": asked.output_of} if asked.output_of else {}
    wanted |= {"of": list(asked.leaves)} if asked.leaves else {}
    return {**request, "gradients": wanted}


def _rows(text: str) -> list[int]:
    """Read ``0-3,7``: numbers and ranges, both ends included."""
    rows: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"--rows takes numbers and ranges, for example 0-3,7, not {text!r}.")
        begin, end = int(first), int(last) if dash else int(first)
        if not begin <= end < begin + _MAX_ROWS:
            raise UsageError(f"--rows: {part.strip()!r} is no range of at most {_MAX_ROWS} rows.")
        rows += range(begin, end + 1)
    return rows


def _without(request: Json, name: str) -> Json:
    return {key: value for key, value in request.items() if key != name}


def picture_format(output: Path | None, wanted: str | None) -> str | None:
    """Return the picture's format: as asked, else by the file's suffix; None for no picture.

    Raises:
        UsageError: the suffix says nothing, or a format is unknown.
    """
    if wanted is not None:
        if wanted not in FORMATS.values():
            raise UsageError(f"--format is one of {', '.join(sorted(set(FORMATS.values())))}, not {wanted!r}.")
        return wanted
    if output is None:
        return None
    if output.suffix not in FORMATS:
        raise UsageError(f"{output.name}: the name ends in none of {', '.join(FORMATS)}; --format says what to write.")
    return FORMATS[output.suffix]
