"""Links of the OpenAPI document: what was just made, or listed, can be asked for by its id.

They follow from the paths: what answers with ids at ``/v1/checkpoints``, or at ``…/checkpoints`` of something else,
leads to everything below ``/v1/checkpoints/{checkpoint_id}``.
"""

from __future__ import annotations

import re
from typing import Any

_PARAMETER = re.compile(r"\{(\w+)\}")
_MADE = "$response.body#/id"
_LISTED = "$response.body#/data/0/id"


def add_links(document: dict[str, Any]) -> None:
    """Write the links of each collection's answers into ``document``."""
    paths: dict[str, dict[str, Any]] = document["paths"]
    for path, operations in paths.items():
        below = _below(paths, f"/v1/{path.rsplit('/', 1)[-1]}")
        if not below:
            continue
        for method, statuses, where in (("post", ("201", "200"), _MADE), ("get", ("200",), _LISTED)):
            answers = operations.get(method, {}).get("responses", {})
            for status in statuses:
                if status in answers and _is_of(answers[status], "id" if where == _MADE else "data", document):
                    answers[status]["links"] = {one: _link(one, name, where) for one, name in below}


def _below(paths: dict[str, dict[str, Any]], path: str) -> list[tuple[str, str]]:
    """Return (operation id, parameter) of everything that an id from ``path`` alone leads to."""
    found = []
    for other, operations in paths.items():
        names = _PARAMETER.findall(other)
        if other.startswith(f"{path}/{{") and len(names) == 1:
            found += [(operation["operationId"], names[-1]) for operation in operations.values()]
    return found


def _link(operation_id: str, parameter: str, where: str) -> dict[str, Any]:
    if parameter == "name":  # of the catalog, whose entries have no ids
        where = where.removesuffix("id") + parameter
    return {"operationId": operation_id, "parameters": {parameter: where}}


def _is_of(answer: dict[str, Any], member: str, document: dict[str, Any]) -> bool:
    """Whether the answer's JSON has the member: a report of ``validate_only`` has no id."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    return member in document["components"]["schemas"].get(name, {}).get("properties", {})
