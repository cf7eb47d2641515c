"""Measures training steps of one definition, dynamic and static in turns, and tries what a static graph cannot do."""

from __future__ import annotations

import math
import platform
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from services.definition import Definition
from services.errors import InvalidRequest, Problem
from services.modules.graph.subject import Subject
from services.modules.static.backend import compile_model
from services.modules.static.build import Variant, static_variant
from services.modules.static.capture import batch_axes, plain_inputs
from services.modules.static.changes import Changes
from services.modules.static.pair import Call, Inputs, Pair, difference, tensors
from services.modules.static.reasons import breaks_of

WARM_STEPS = 3
MAX_STEPS = 2_000
MIN_STEPS = 5
_ONE_PER_CENT = 2.576  # quantile of the normal distribution, two-sided
_KIB = 1024  # the unit of ru_maxrss on Linux


def compare(definition: Definition, subject: Subject, *, seconds: float) -> dict[str, Any]:
    """Return the comparison: building, steps, break-even, memory, and changes that were really tried.

    A step is forward, the mean of the squares of all outputs as loss, backward, and an optimizer step of SGD with
    learning rate 0, which leaves the weights as they are, so that every step does the same work.

    Raises:
        InvalidRequest: ``not_capturable``, with place and reason; or the definition does not even run dynamically.
    """
    subject.capture(max_operations=1)  # explains a forward that fails as every other request does
    variant = static_variant(definition)
    pair = Pair.of(subject.model, variant.build(), subject.seed)
    inputs = plain_inputs(subject)
    torch._dynamo.reset()
    compiled = compile_model(pair.static)
    forms = _Form(pair.dynamic, pair.dynamic, inputs), _Form(pair.static, compiled.call, inputs)
    first, peaks = _first_steps(forms, inputs, variant)
    times = _in_turns(forms, seconds)
    dynamic, static = (
        _described(form, row, one, peak) for form, row, one, peak in zip(forms, times, first, peaks, strict=True)
    )
    winner = faster(*times)
    results = [tensors(pair.run(form.call, inputs)) for form in forms]
    return {
        "steps_measured": len(times[0]),
        "dynamic": dynamic,
        "static": {**static, "backend": compiled.backends[0]},
        "speedup": round(dynamic["step_seconds"]["median"] / static["step_seconds"]["median"], 4),
        "faster": winner,
        "break_even_steps": break_even(dynamic, static) if winner == "static" else None,
        "max_abs_difference": _finite(difference(*results)),
        "device": f"cpu, {torch.get_num_threads()} thread, {platform.machine()}",
        "torch": torch.__version__,
        "changes": Changes(pair, compiled.call, inputs, variant).tried(batch_axes(definition, inputs)),
    }


@dataclass(slots=True)
class _Form:
    """One of the two forms of a model, with an optimizer that changes nothing."""

    model: nn.Module
    call: Call
    inputs: Inputs
    optimizer: torch.optim.Optimizer | None = None

    def __post_init__(self) -> None:
        parameters = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=0.0) if parameters else None

    def step(self) -> float:
        """Make one training step and return its seconds."""
        given = [one.clone() if isinstance(one, Tensor) else one for one in self.inputs]
        began = time.perf_counter()
        outputs = [one for one in tensors(self.call(*given)) if one.requires_grad]
        if outputs and self.optimizer is not None:
            torch.autograd.backward(torch.stack([one.square().mean() for one in outputs]).sum())
            self.optimizer.step()
            self.optimizer.zero_grad()
        return time.perf_counter() - began


def _first_steps(forms: Sequence[_Form], inputs: Inputs, variant: Variant) -> tuple[list[float], list[int]]:
    """Make the first step of each form, which builds what it needs; return seconds and the process's peak after it."""
    seconds, peaks = [], []
    for form in forms:
        try:
            seconds.append(form.step())
        except Exception as error:  # noqa: BLE001 - whatever stops torch is the answer
            found = breaks_of(form.model, inputs, variant.code, error)
            raise InvalidRequest([_not_capturable(one) for one in found]) from None
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB)
    return seconds, peaks


def _described(form: _Form, row: list[float], first: float, peak: int) -> dict[str, Any]:
    times = _times(row)
    return {
        "build_seconds": round(max(first - times["median"], 0.0), 4),
        "step_seconds": times,
        "kept_bytes": _kept_bytes(form),
        "process_peak_bytes": peak,
    }


def _in_turns(forms: Sequence[_Form], seconds: float) -> list[list[float]]:
    """Return the seconds of every step; the forms take turns, so that both see the same load of the machine."""
    for form in forms:
        for _ in range(WARM_STEPS):
            form.step()
    times: list[list[float]] = [[] for _ in forms]
    end = time.perf_counter() + seconds
    while len(times[0]) < MIN_STEPS or (time.perf_counter() < end and len(times[0]) < MAX_STEPS):
        for form, row in zip(forms, times, strict=True):
            row.append(form.step())
    return times


def _times(row: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(row, n=4)
    found = {"median": middle, "lower_quartile": low, "upper_quartile": high, "least": min(row)}
    return {name: round(value, 7) for name, value in found.items()}


def faster(dynamic: Sequence[float], static: Sequence[float]) -> str | None:
    """Return which form's steps are faster; None where that may be chance.

    A sign test at one per cent: the steps were made in turns, so each pair saw the same load, and how often one form
    won does not depend on how much the machine was disturbed.
    """
    won = sum(slow > fast for slow, fast in zip(dynamic, static, strict=True))
    beyond = won - len(static) / 2
    if abs(beyond) <= _ONE_PER_CENT * math.sqrt(len(static)) / 2:
        return None
    return "static" if beyond > 0 else "dynamic"


def break_even(dynamic: dict[str, Any], static: dict[str, Any]) -> int | None:
    """Return after how many steps the static form has caught up; None where its median step is no shorter."""
    gain = dynamic["step_seconds"]["median"] - static["step_seconds"]["median"]
    return max(0, math.ceil((static["build_seconds"] - dynamic["build_seconds"]) / gain)) if gain > 0 else None


def _kept_bytes(form: _Form) -> int:
    """Return the bytes of activations that one forward keeps for its backward."""
    seen: dict[int, int] = {}
    own = {one.untyped_storage().data_ptr() for one in [*form.model.parameters(), *form.model.buffers()]}

    def keep(tensor: Tensor) -> Tensor:
        where = tensor.untyped_storage().data_ptr()
        if where not in own:
            seen[where] = max(seen.get(where, 0), tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = form.call(*form.inputs)
    del result
    return sum(seen.values())


def _not_capturable(found: dict[str, Any]) -> Problem:
    detail = f"There is no static graph of this definition. {found['reason']}"
    if found["source"]:
        detail += f" At: {found['source']}"
    hint = found["hint"] or "POST /v1/graphs/capture says what torch says."
    return Problem("not_capturable", detail, found["pointer"] or "", hint, found["column"])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
