"""Times a few real training steps of a definition on made-up rows, on the CPU: what an estimate begins with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from services.definition import check
from services.definition.vocabulary import Vocabulary
from services.forkserver.limits import step_back
from services.modules.autocast import autocast
from services.modules.build import build
from services.modules.objective import LossFunction
from services.modules.preflight import Channel
from services.modules.samples import sample_inputs
from services.training.patterns import matching
from services.training.sources import vocabulary_of

SECONDS = 1.5
"""What a probe may spend on steps; building the model comes on top."""
_LEAST_STEPS, _MOST_STEPS = 3, 30
_FUSED = ("SGD", "Adam", "AdamW", "Adagrad")
_CPU = torch.device("cpu")


class Probe:
    """A model, its loss and its optimizer, as a plan has them; each call makes one step on rows of its own making."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        definition = check(plan["document"])
        self._plan = plan
        self._vocabulary: Vocabulary = vocabulary_of(tuple(definition.outputs), plan["names"])
        self._model = build(definition).train()
        for name in matching((name for name, _ in self._model.named_parameters()), plan["freeze"]):
            self._model.get_parameter(name).requires_grad_(False)
        self._autocast = autocast(plan["precision"], _CPU)
        self._optimizer = _optimizer(plan["optimizer"], self._model)

    def step_seconds(self, batch: int, until: float) -> list[float]:
        """Return the seconds of each of a few steps over ``batch`` rows; the first one warms up and does not count."""
        loss_of = LossFunction(self._plan["loss"], self._vocabulary, "cpu")
        inputs, columns = _rows(self._plan, batch)
        compute: Callable[..., tuple[Tensor, Any]] = loss_of.first

        def descend() -> float:
            self._optimizer.zero_grad(set_to_none=True)
            with self._autocast():
                loss, _ = compute(self._model(*inputs), columns)
            torch.autograd.backward(loss)
            return cast("float", loss)  # LBFGS alone looks at it, and takes a tensor as well

        self._optimizer.step(descend)
        compute = loss_of
        return _timed(lambda: self._optimizer.step(descend), until)

    def forward_seconds(self, batch: int, until: float) -> float:
        """Return the seconds of an evaluation's forward over ``batch`` rows."""
        inputs, _ = _rows(self._plan, batch)
        self._model.eval()
        with torch.no_grad(), self._autocast():
            return statistics.median(_timed(lambda: self._model(*inputs), until))


def measure(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"step_seconds", "forward_seconds", "batch_size", "steps"}`` for batches of ``plan["batch_size"]`` rows.

    Where such a batch takes too long or too much memory, two smaller ones are timed and the line through them drawn on;
    ``batch_size`` says which was really tried.
    """
    probe, wanted = Probe(plan), int(plan["batch_size"])
    deadline = time.perf_counter() + SECONDS
    first = min(wanted, int(plan["smallest_batch"]))
    few = probe.step_seconds(first, time.perf_counter() + SECONDS / 5)
    small = statistics.median(few)
    largest = _affordable(wanted, first, small, plan["max_bytes"] / plan["sample_bytes"])
    steps = probe.step_seconds(largest, deadline) if largest > first else few
    large = statistics.median(steps)
    slope = max(0.0, (large - small) / (largest - first)) if largest > first else large / first
    step = large + slope * (wanted - largest)
    forward = probe.forward_seconds(largest, time.perf_counter() + SECONDS / 5) * step / large
    return {"step_seconds": step, "forward_seconds": forward, "batch_size": largest, "steps": len(steps)}


def run(payload: dict[str, Any], channel: Channel) -> int:
    """Probe inside a sandboxed child that steps back for whoever else computes: emits ``{"report": …}``."""
    step_back(5)
    torch.set_num_threads(payload["threads"])
    torch.use_deterministic_algorithms(payload["reproducible"], warn_only=True)
    try:
        report: dict[str, Any] | None = measure(payload)
    except Exception as error:  # noqa: BLE001 - the client's model may raise anything; then there is no probe
        report = {"failed": f"{type(error).__name__}"}
    channel.emit({"report": report})
    return 0


def _rows(plan: Mapping[str, Any], batch: int) -> tuple[list[Tensor | None], dict[str, Tensor]]:
    described = {name: {"dtype": one["dtype"], "shape": ["B", *one["shape"]]} for name, one in plan["columns"].items()}
    columns = dict(zip(described, sample_inputs(described, batch=batch, device="cpu"), strict=True))
    return sample_inputs(plan["inputs"], batch=batch, device="cpu"), {n: c for n, c in columns.items() if c is not None}


def _optimizer(section: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    kind: type[torch.optim.Optimizer] = getattr(torch.optim, section["type"])
    arguments: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in section.items()}
    for own in ("type", "groups"):
        arguments.pop(own, None)
    sparse = any(getattr(module, "sparse", False) is True for module in model.modules())
    if section["type"] in _FUSED and not sparse:
        arguments["fused"] = True
    return kind([parameter for parameter in model.parameters() if parameter.requires_grad], **arguments)


def _affordable(wanted: int, first: int, seconds: float, by_memory: float) -> int:
    """Return the largest batch, up to the one wanted, whose few steps fit into time and memory."""
    by_time = first * (SECONDS / 2) / (_LEAST_STEPS + 1) / max(seconds, 1e-9)
    return max(first, int(min(wanted, by_time, by_memory)))


def _timed(action: Callable[[], object], until: float) -> list[float]:
    found: list[float] = []
    while len(found) < _LEAST_STEPS or (len(found) < _MOST_STEPS and time.perf_counter() < until):
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return found
