"""Everything that is shown of a model, made in one visit to a sandboxed child: report, source, tree."""

from __future__ import annotations

from typing import Any

import torch

from services.definition import check
from services.errors import InvalidRequest
from services.modules.build import compile_definition
from services.modules.emit import FACTORY, source
from services.modules.preflight import Channel, preflight
from services.modules.summary import summary_text, summary_tree


def run(payload: dict[str, Any], channel: Channel) -> int:
    """Emit ``{"report": {…, "source", "summary": {"tree", "text"}}}``, or ``{"problems": […]}``."""
    torch.set_num_threads(1)
    pointer = payload.get("pointer", "")
    try:
        definition = check(payload["document"], pointer=pointer)
        report = preflight(definition, max_parameters=payload.get("max_parameters"), pointer=pointer)
    except InvalidRequest as error:
        channel.emit({"problems": [problem.to_dict() for problem in error.problems]})
        return 0
    with torch.device("meta"):
        model = compile_definition(definition).namespace[FACTORY]()
    tree = summary_tree(model, report["layers"])
    channel.emit(
        {"report": {**report, "source": source(definition), "summary": {"tree": tree, "text": summary_text(tree)}}}
    )
    return 0
