"""Captures one definition once: by which means, where it breaks, and whether the graph computes what the model does."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from services.definition import Definition
from services.modules.graph.subject import Subject
from services.modules.static.backend import Compiled, compile_model
from services.modules.static.build import Variant, static_variant
from services.modules.static.changes import refusal
from services.modules.static.graph import captured_graph, line_of, spot
from services.modules.static.helpers import Watched
from services.modules.static.pair import (
    Call,
    Inputs,
    Pair,
    difference,
    other_size,
    other_values,
    tensors,
    zero_for_none,
)
from services.modules.static.reasons import break_of, breaks_of
from services.modules.static.rewrite import Site


def capture(definition: Definition, subject: Subject) -> dict[str, Any]:
    """Return the capture report.

    Args:
        definition: a checked definition.
        subject: its module with inputs, as it is run dynamically.

    Raises:
        InvalidRequest: the definition does not even run dynamically.
    """
    subject.capture(max_operations=1)  # explains a forward that fails as every other request does
    variant = static_variant(definition)
    pair = Pair.of(subject.model, variant.build(), subject.seed)
    inputs = plain_inputs(subject)
    watched = variant.watch()
    expected = tensors(pair.run(pair.static, inputs))
    variant.capture_ready()
    report = _Report(definition, variant, pair, inputs, expected, watched)
    return report.document(batch_axes(definition, inputs))


def plain_inputs(subject: Subject) -> Inputs:
    """Return the inputs in calling order, without gradients of their own and without those left out at the end."""
    given = [None if one is None else one.detach() for one in subject.inputs.values()]
    while given and given[-1] is None:
        given.pop()
    return given


def batch_axes(definition: Definition, inputs: Inputs) -> list[bool]:
    """Tell for each input whether its first dimension is the batch: as declared, else as the first input has it."""
    if definition.inputs:
        return [bool(one.shape) and (one.shape or (0,))[0] == "B" for one in definition.inputs][: len(inputs)]
    sizes = [one.shape[0] if isinstance(one, Tensor) and one.dim() else None for one in inputs]
    return [size is not None and size == sizes[0] for size in sizes]


@dataclass(slots=True)
class _Report:
    definition: Definition
    variant: Variant
    pair: Pair
    inputs: Inputs
    expected: list[Tensor]
    watched: Watched

    def document(self, axes: list[bool]) -> dict[str, Any]:
        whole, captured = self._compiled()
        is_whole = whole["captured"]
        # In this order: every new capture forgets the one before.
        same = self._other(captured.call, other_values(self.inputs, 1)) if is_whole else None
        batches = self._batches(captured.call, axes) if is_whole else None
        gradient = self._gradient() if is_whole else None
        exported, program = self._exported()
        return {
            "captured": is_whole,
            "breaks": whole.pop("breaks", []),
            "means": [whole, exported],
            "gradient": gradient,
            "same_shapes": same,
            "other_batch": batches,
            "branches": [self._site(one, captured) for one in self.variant.sites if one.kind == "if" and one.own],
            "loops": [self._site(one, captured) for one in self.variant.sites if one.kind != "if"],
            "graph": captured_graph(program, self.variant.code, self.definition) if program is not None else None,
            "torch": torch.__version__,
        }

    def _compile(self, *, backend: str, dynamic: bool = False) -> Compiled:
        torch._dynamo.reset()
        return compile_model(self.pair.static, backend=backend, dynamic=dynamic)

    def _compiled(self) -> tuple[dict[str, Any], Compiled]:
        captured = self._compile(backend="eager")
        began = time.perf_counter()
        row: dict[str, Any] = {"means": "torch.compile(fullgraph=True)", "captured": True, "reason": None}
        try:
            found = tensors(self.pair.run(captured.call, self.inputs))
        except Exception as error:  # noqa: BLE001 - whatever stops torch is the answer
            breaks = breaks_of(self.pair.static, self.inputs, self.variant.code, error)
            row |= {"captured": False, "reason": breaks[0]["reason"], "breaks": breaks}
            found = []
        row["seconds"] = round(time.perf_counter() - began, 3)
        row["max_abs_difference"] = _finite(difference(self.expected, found)) if row["captured"] else None
        return row, captured

    def _exported(self) -> tuple[dict[str, Any], torch.export.ExportedProgram | None]:
        began = time.perf_counter()
        row: dict[str, Any] = {"means": "torch.export", "captured": True, "reason": None}
        program = None
        try:
            with torch.no_grad():
                program = torch.export.export(self.pair.static, tuple(self.inputs), strict=True)
            found = tensors(self.pair.run(program.module(), self.inputs))
        except Exception as error:  # noqa: BLE001 - whatever stops torch is the answer
            why = break_of(error, self.variant.code)
            row |= {"captured": False, "reason": f"{why['reason']} {why['torch']}"[:600]}
            program, found = None, []
        row["seconds"] = round(time.perf_counter() - began, 3)
        row["max_abs_difference"] = _finite(difference(self.expected, found)) if row["captured"] else None
        return row, program

    def _gradient(self) -> dict[str, Any]:
        """Compile forward and backward ahead of time and compare the gradients."""
        try:
            wanted = self.pair.gradients(self.pair.dynamic, self.inputs)
            found = self.pair.gradients(self._compile(backend="aot_eager").call, self.inputs)
        except Exception as error:  # noqa: BLE001 - whatever stops torch is the answer
            why = break_of(error, self.variant.code)
            return {"captured": False, "reason": why["reason"], "torch": why["torch"], "max_abs_difference": None,
                    "zero_for_none": None}  # fmt: skip
        return {
            "captured": bool(wanted),
            "reason": None if wanted else "No output depends on a parameter that trains.",
            "torch": None,
            "max_abs_difference": _finite(difference(wanted, found)) if wanted else None,
            "zero_for_none": zero_for_none(wanted, found) if wanted else None,
        }

    def _other(self, call: Call, inputs: Inputs) -> dict[str, Any]:
        """Run the captured graph on other inputs, without capturing again."""
        try:
            wanted = tensors(self.pair.run(self.pair.dynamic, inputs))
        except Exception as error:  # noqa: BLE001 - the client's model may raise anything
            return {"ran": False, "reason": f"The dynamic model refuses it too: {refusal(error)}",
                    "max_abs_difference": None}  # fmt: skip
        try:
            with torch.compiler.set_stance("fail_on_recompile"):
                found = tensors(self.pair.run(call, inputs))
        except Exception as error:  # noqa: BLE001 - whatever stops torch is the answer
            return {"ran": False, "reason": refusal(error), "max_abs_difference": None}
        return {"ran": True, "reason": None, "max_abs_difference": _finite(difference(wanted, found))}

    def _batches(self, call: Call, axes: list[bool]) -> dict[str, Any]:
        """Try another batch size, on the graph as captured and on one captured with free sizes."""
        if not any(axes):
            return {"size": None, "frozen": None, "free": None}
        inputs = other_size(self.inputs, axes, 2)
        frozen = self._other(call, inputs)
        free = self._compile(backend="eager", dynamic=True)
        try:
            self.pair.run(free.call, self.inputs)
            answer = self._other(free.call, inputs)
        except Exception as error:  # noqa: BLE001 - whatever stops torch is the answer
            answer = {"ran": False, "reason": refusal(error), "max_abs_difference": None}
        return {"size": inputs[axes.index(True)].shape[0], "frozen": frozen, "free": answer}

    def _site(self, site: Site, captured: Compiled) -> dict[str, Any]:
        number = site.number
        row: dict[str, Any] = {
            "pointer": site.place.pointer if site.place else None,
            "kind": site.kind,
            "condition": site.text,
            "became": self._became(site, captured),
            "reason": site.kept,
        }
        if site.kind == "if":
            taken = self.watched.taken.get(number, [])
            return {**row, "taken": [word for word, way in (("then", True), ("else", False)) if way in taken]}
        return {**row, "turns": self.watched.turns.get(number, [])[:100]}

    def _became(self, site: Site, captured: Compiled) -> str:
        """Say what a branch or a loop is in the graph, by the operations that come from its line."""
        if site.kept is not None:
            return "python"
        operation = {"if": "cond", "while": "while_loop"}.get(site.kind)
        if operation in _operations(captured.graphs, self.variant, site):
            return str(operation)
        if site.number not in {*self.watched.tests, *self.watched.turns}:
            return "not_reached"
        if "tensor" in self.watched.tests.get(site.number, ()):
            return operation if captured.graphs and operation else "not_captured"
        return "constant" if site.kind == "if" else "unrolled"


def _operations(graphs: list[fx.GraphModule], variant: Variant, site: Site) -> set[str]:
    found = set()
    for graph in graphs[:1]:
        for part in graph.modules():
            if not isinstance(part, fx.GraphModule):
                continue
            for node in part.graph.nodes:
                name = getattr(node.target, "__name__", "")
                if name in ("cond", "while_loop"):
                    where = spot(variant.code, line_of(node.meta.get("stack_trace"), variant.code))
                    if site.place is not None and where["pointer"] == site.place.pointer:
                        found.add(name)
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
