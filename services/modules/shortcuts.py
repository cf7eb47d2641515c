"""What makes a trial on the meta device quick: no draws that nobody sees, and equal blocks are run once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional

from services.definition.tree import Node

_DRAWING = (
    nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase,
    nn.LayerNorm, nn.GroupNorm, nn.RNNBase, nn.RNNCellBase,
)  # fmt: skip


@contextmanager
def without_draws() -> Iterator[None]:
    """Let torch's own layers skip their initial draws: on the meta device there is nothing to draw into."""
    with ExitStack() as stack:
        for layer in _DRAWING:
            stack.enter_context(patch.object(layer, "reset_parameters", lambda _self: None))
        for name in ("normal_", "uniform_"):
            stack.enter_context(patch.object(torch.Tensor, name, lambda tensor, *_rest, **_named: tensor))
        yield


@contextmanager
def quick_layers() -> Iterator[None]:
    """Replace what the meta device works out in slow Python by one operation of equal shape and kept bytes."""
    with patch.object(functional, "batch_norm", _batch_norm), patch.object(functional, "relu", _relu):
        yield


def _batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    *_rest: object,
    **_named: object,
) -> torch.Tensor:
    known = running_mean if running_mean is not None else weight
    if known is not None and input.shape[1] != known.numel():
        raise RuntimeError(f"expected {known.numel()} features, got {input.shape[1]}")
    return torch.mul(input, 1.0 if weight is None else weight[0])


def _relu(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    return torch.tanh(input)  # keeps its result for the backward, as relu does


@dataclass(slots=True)
class Run:
    """What one run of a block did: outputs, recorded calls, kept bytes, operations."""

    outputs: Any
    calls: list[Any]
    saved_bytes: int
    operations: int


class Repeats:
    """Blocks of the same definition with the same arguments do the same to inputs of the same shapes."""

    def __init__(self, tree: Node) -> None:
        self.known: dict[str, Run] = {}
        keys = {path: _key(node) for path, node in tree.walk() if path}
        counts: dict[str, int] = {}
        for key in keys.values():
            counts[key] = counts.get(key, 0) + 1
        self.keys = {path: key for path, key in keys.items() if key and counts[key] > 1}

    def patched(self, model: nn.Module, counters: Counters) -> ExitStack:
        """Return a stack that, while open, answers repeated blocks from memory."""
        stack = ExitStack()
        modules = dict(model.named_modules())
        for path, key in self.keys.items():
            module = modules.get(path)
            if module is not None and "forward" not in module.__dict__:
                module.__dict__["forward"] = self._answering(module, path, key, counters)
                stack.callback(module.__dict__.pop, "forward", None)
        return stack

    def _answering(self, module: nn.Module, path: str, key: str, counters: Counters) -> Callable[..., object]:
        original = module.forward

        def forward(*inputs: object, **named: object) -> object:
            question = f"{key}{_shape(inputs)}{_shape(named)}{module.training}"
            run = self.known.get(question)
            if run is not None:
                counters.replay(run, path)
                return _fresh(run.outputs)
            before = counters.mark()
            outputs = original(*inputs, **named)
            if _is_plain(outputs):
                self.known[question] = counters.since(before, outputs, path)
            return outputs

        return forward


class Counters:
    """What a recorder counts, as far as repeats need it; the recorder implements it."""

    def mark(self) -> tuple[int, int, int]:
        """Return the present counts: calls, kept bytes, operations."""
        raise NotImplementedError

    def since(self, before: tuple[int, int, int], outputs: object, path: str) -> Run:
        """Return what happened since ``before``, with paths relative to ``path``."""
        raise NotImplementedError

    def replay(self, run: Run, path: str) -> None:
        """Count a run again, at another path."""
        raise NotImplementedError


def _key(node: Node) -> str:
    """Return equal keys for blocks that are equal; leaves are quick enough to run."""
    plain = not any(isinstance(value, Node) or "object at" in repr(value) for value in node.arguments.values())
    return f"{node.type}{node.arguments!r}" if plain and len(node.children) > 1 and not node.is_container() else ""


def _shape(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{tuple(value.shape)}{value.requires_grad}"
    if isinstance(value, list | tuple):
        return "(" + ",".join(_shape(item) for item in value) + ")"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_shape(item)}" for name, item in value.items()) + "}"
    return repr(value)


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, torch.Tensor | int | float | str | type(None))


def _fresh(value: Any) -> Any:  # noqa: ANN401 - whatever the block returned
    if isinstance(value, torch.Tensor):
        return torch.empty_like(value, requires_grad=value.requires_grad)
    return type(value)(_fresh(item) for item in value) if isinstance(value, list | tuple) else value
