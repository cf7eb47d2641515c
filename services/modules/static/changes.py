"""What changes easily in a dynamic graph and not in a static one, really tried: rows, branches, layers."""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from services.modules.static.build import Variant
from services.modules.static.pair import Call, Inputs, Pair, difference, other_size, tensors

_FACTORS = (0.01, 100.0, -1.0, 0.0, 10.0, -100.0)
"""What floating-point inputs are multiplied with, in search of another branch."""
_NUMBERED = re.compile(r"^\d+/\d+: ")  # torch counts captured codes and their versions


@dataclass(slots=True)
class Changes:
    """A captured graph beside its dynamic form."""

    pair: Pair
    captured: Call
    inputs: Inputs
    variant: Variant

    def tried(self, axes: list[bool]) -> list[dict[str, Any]]:
        """Return one row for each change: what was tried, and what both forms did."""
        # The batch is tried last, for it captures again, and then two graphs would say why they do not fit.
        rows = [self._branch(), self._layer(), self._batch(axes)]
        return [rows[2], *rows[:2]]

    def _batch(self, axes: list[bool]) -> dict[str, Any]:
        if not any(axes):
            return _untried("batch_size", "No input has a batch as its first dimension.")
        inputs = other_size(self.inputs, axes, 2)
        size = inputs[axes.index(True)].shape[0]
        row = self._both("batch_size", f"{size} rows instead of {size - 1}", inputs)
        return {**row, "capture_again_seconds": self._again(inputs)}

    def _branch(self) -> dict[str, Any]:
        """Look for inputs that take another way, and run the captured graph on them."""
        usual = self._ways(self.inputs)
        if not any("tensor" in kinds for kinds in usual[0].values()):
            return _untried("branch", "No branch or loop of this definition depends on data.")
        for factor in _FACTORS:
            inputs = [
                one * factor if isinstance(one, Tensor) and one.is_floating_point() else one for one in self.inputs
            ]
            if self._ways(inputs)[1:] != usual[1:]:
                return self._both("branch", f"inputs times {factor:g}, which take another way", inputs)
        return _untried("branch", "No multiple of the inputs takes another way.")

    def _layer(self) -> dict[str, Any]:
        """Put one more layer behind the first layer of both forms."""
        path = next((name for name, one in self.pair.dynamic.named_modules() if name and not list(one.children())), "")
        if not path:
            return _untried("layer", "The definition has no layer inside a module.")
        kind = type(self.pair.dynamic.get_submodule(path)).__name__
        changed = [_with_more(model, path) for model in (self.pair.dynamic, self.pair.static)]
        before = self.pair.static.get_submodule(path)
        pair = Pair(changed[0], changed[1], self.pair.buffers, self.pair.seed)
        _replace(self.pair.static, path, nn.Sequential(before, nn.Tanh()))
        try:
            what = f"Tanh behind {path} ({kind})"
            return _row("layer", what, *_outcomes(pair, pair.dynamic, self.captured, self.inputs))
        finally:
            _replace(self.pair.static, path, before)

    def _both(self, change: str, what: str, inputs: Inputs) -> dict[str, Any]:
        return _row(change, what, *_outcomes(self.pair, self.pair.dynamic, self.captured, inputs))

    def _again(self, inputs: Inputs) -> float | None:
        """Return how long it takes to capture once more for other inputs."""
        began = time.perf_counter()
        try:
            self.pair.run(self.captured, inputs)
        except Exception:  # noqa: BLE001 - the row above says why
            return None
        return round(time.perf_counter() - began, 3)

    def _ways(self, inputs: Inputs) -> tuple[Any, Any, Any]:
        watched = self.variant.watch()
        try:
            self.pair.run(self.pair.static, inputs)
        except Exception:  # noqa: BLE001 - such inputs are no way that can be gone
            return {}, {}, {}
        finally:
            self.variant.capture_ready()
        return watched.tests, watched.taken, watched.turns


def _outcomes(pair: Pair, dynamic: Call, static: Call, inputs: Inputs) -> list[dict[str, Any]]:
    """Run both forms; the captured graph must not be captured again for it."""
    expected, first = _attempt(lambda: tensors(pair.run(dynamic, inputs)))
    with torch.compiler.set_stance("fail_on_recompile"):
        found, second = _attempt(lambda: tensors(pair.run(static, inputs)))
    equal = None
    if expected is not None and found is not None:
        gap = difference(expected, found)
        equal = gap if math.isfinite(gap) else None
    return [first, {**second, "max_abs_difference": equal}]


def _attempt(run: Callable[[], list[Tensor]]) -> tuple[list[Tensor] | None, dict[str, Any]]:
    try:
        return run(), {"ran": True, "reason": None}
    except Exception as error:  # noqa: BLE001 - whatever stops it is the answer
        return None, {"ran": False, "reason": refusal(error)}


def refusal(error: Exception) -> str:
    """Return which guard of a captured graph does not hold, or the first line of what was said."""
    lines = [_NUMBERED.sub("", line.strip(" -\t")) for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Detected recompile"):
        lines[0] = "It does not fit the captured graph; torch would have to capture again."
    guards = [line for line in lines if "mismatch" in line or "==" in line or "expected" in line]
    return ([*guards, *lines] or [type(error).__name__])[0][:300]


def _with_more(model: nn.Module, path: str) -> nn.Module:
    changed = copy.deepcopy(model)
    _replace(changed, path, nn.Sequential(changed.get_submodule(path), nn.Tanh()))
    return changed


def _replace(model: nn.Module, path: str, layer: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    model.get_submodule(owner)._modules[name] = layer


def _row(change: str, what: str, dynamic: dict[str, Any], static: dict[str, Any]) -> dict[str, Any]:
    return {"change": change, "tried": what, "reason": None, "dynamic": dynamic, "static": static,
            "capture_again_seconds": None}  # fmt: skip


def _untried(change: str, why: str) -> dict[str, Any]:
    return {"change": change, "tried": None, "reason": why, "dynamic": None, "static": None,
            "capture_again_seconds": None}  # fmt: skip
