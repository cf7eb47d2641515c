"""Answers for graphs inside a sandboxed child: record a run, differentiate it, compare runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from services.definition import Definition, check
from services.errors import InvalidRequest, Problem
from services.modules.graph.document import document, name_outputs
from services.modules.graph.gradients import Wanted, differentiate
from services.modules.graph.inputs import builtin_rows, given_inputs, sample_of
from services.modules.graph.path_document import path_count
from services.modules.graph.subject import Subject, build_subject
from services.modules.graph.weights import read_weights
from services.modules.preflight import Channel


def run(payload: dict[str, Any], channel: Channel) -> int:
    """Emit ``{"report": graph/1}`` or ``{"problems": […]}``."""
    torch.set_num_threads(1)
    try:
        definition = check(payload["document"])
        channel.emit({"report": graph(definition, payload)})
    except InvalidRequest as error:
        channel.emit({"problems": [problem.to_dict() for problem in error.problems]})
    return 0


def graph(definition: Definition, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the graph of one run, with ``gradients`` where the request asks for them.

    Args:
        definition: a checked definition.
        request: ``inputs`` (see `given_inputs`; None samples the declared ones), ``training``, ``seed``, ``dtype``,
            ``gradients`` (None, or the members of `Wanted`), ``operations`` and ``values`` (budgets), ``seconds``.

    Raises:
        InvalidRequest: the run fails, or the gradients that are asked for do not exist.
    """
    deadline = time.monotonic() + request["seconds"]
    with below(request["pointer"]):
        subject = make_subject(definition, request, request)
        capture, result = subject.capture(max_operations=request["operations"])
    outputs = name_outputs(definition, capture, result)
    gradients, at_nodes, flows, paths = None, {}, {}, None
    if request["gradients"] is not None:
        if capture.left_out:
            detail = f"The run has more than {request['operations']} operations; gradients need the whole graph."
            hint = "Raise limits.operations, give smaller inputs, or ask for the graph alone."
            raise InvalidRequest([Problem("graph_too_large", detail, "/gradients", hint)])
        gradients, found = differentiate(subject, capture, outputs, _wanted(request["gradients"]), deadline)
        at_nodes, flows = found.gradients, found.flows
        paths = path_count(sum(count for node, count in found.counts.items() if node.leaf))
    answer = document(definition, capture, outputs, at_nodes, flows, values=request["values"])
    answer["totals"]["paths"] = paths
    return {**answer, "gradients": gradients}


def make_subject(definition: Definition, request: Mapping[str, Any], given: Mapping[str, Any]) -> Subject:
    """Build what is run on ``given``: its ``inputs``, its ``builtin`` rows, or samples of the declared inputs.

    Raises:
        InvalidRequest: the definition cannot be built, or the weights are another model's.
    """
    dtype: torch.dtype = getattr(torch, request["dtype"])
    return build_subject(
        definition,
        _inputs(definition, request, given, dtype),
        weights=None if request["weights"] is None else read_weights(request["weights"]),
        training=request["training"],
        seed=request["seed"],
        dtype=dtype,
        max_parameters=request["max_parameters"],
    )


def _inputs(
    definition: Definition, request: Mapping[str, Any], given: Mapping[str, Any], dtype: torch.dtype
) -> dict[str, torch.Tensor | None]:
    if given["builtin"] is not None:
        return builtin_rows(**given["builtin"])
    if given["inputs"] is not None:
        return given_inputs(given["inputs"], dtype)
    return sample_of(definition.inputs, request["seed"])


@contextmanager
def below(pointer: str) -> Iterator[None]:
    """Give problems of the definition their place in the request."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest([problem.below(pointer) for problem in error.problems]) from None


def _wanted(gradients: Mapping[str, Any]) -> Wanted:
    element, of = gradients.get("element"), gradients.get("of")
    return Wanted(
        gradients.get("output"),
        None if element is None else tuple(element),
        None if of is None else tuple(of),
        gradients.get("limit", 20),
    )
