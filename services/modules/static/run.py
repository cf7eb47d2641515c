"""Static graphs inside a sandboxed child: capture a definition, or measure it beside its dynamic form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from services.definition import Definition, check
from services.errors import InvalidRequest
from services.modules.graph.run import below, make_subject
from services.modules.graph.subject import Subject
from services.modules.preflight import Channel
from services.modules.static.capture import capture
from services.modules.static.compare import compare


def run_capture(payload: dict[str, Any], channel: Channel) -> int:
    """Emit ``{"report": …}`` of `static_capture.capture`, or ``{"problems": […]}``."""
    return _answer(payload, channel, capture)


def run_compare(payload: dict[str, Any], channel: Channel) -> int:
    """Emit ``{"report": …}`` of `static_compare.compare`, or ``{"problems": […]}``."""
    seconds = float(payload["measure_seconds"])
    return _answer(payload, channel, lambda definition, subject: compare(definition, subject, seconds=seconds))


def _answer(payload: dict[str, Any], channel: Channel, report: Callable[[Definition, Subject], dict[str, Any]]) -> int:
    torch.set_num_threads(1)
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # it says in the log what the report says
    try:
        definition = check(payload["document"])
        with below(payload["pointer"]):
            subject = make_subject(definition, payload, payload)
            answer = report(definition, subject)
        channel.emit({"report": answer})
    except InvalidRequest as error:
        channel.emit({"problems": [problem.to_dict() for problem in error.problems]})
    return 0
