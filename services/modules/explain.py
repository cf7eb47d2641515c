"""Says what a failed forward means: which layer, which sizes, and what to change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from services.definition import Definition, guards
from services.definition.problems import Place
from services.errors import Problem
from services.modules.build import Code, place_of_error
from services.modules.record import shapes

_SHAPE_WORDS = re.compile(
    r"shape|size|dim\b|dimension|expected|broadcast|channels|mat1|must match|normalized_shape|invalid for input"
    r"|features|stack expects|out of range|kernel|view|unpack",
    re.IGNORECASE,
)
_DTYPE_WORDS = re.compile(r"dtype|same type|scalar type|expected tensor for argument.*to have one of the following")


class Running(Protocol):
    """What is read of a record of the run: the modules whose forward has not ended, and the paths of all."""

    stack: list[tuple[nn.Module, tuple[object, ...]]]
    paths: dict[int, str]


@dataclass(slots=True)
class Failure:
    """An exception of the client's model, and what was going on."""

    error: Exception
    definition: Definition
    code: Code
    stage: str
    recorder: Running | None


@dataclass(slots=True)
class Finding:
    """What is wrong at a layer: both sizes and the fix."""

    detail: str
    hint: str | None


def explain(failure: Failure, root: Place) -> Problem:
    """Return the problem that a client should see."""
    place = place_of_error(failure.error) or root
    if failure.stage == "build":
        return Problem("invalid_argument", f"This cannot be built: {_first_line(failure.error)}", place.pointer,
                       None, place.column)  # fmt: skip
    guarded = guards.failure(_first_line(failure.error))
    if guarded is not None:
        code, hint = guarded
        return Problem(code, f"{_first_line(failure.error).capitalize()}.", place.pointer, hint, place.column)
    layer = _failed_layer(failure)
    if layer is not None:
        problem = _layer_problem(failure, *layer)
        if problem is not None:
            return problem
    text = _first_line(failure.error)
    if isinstance(failure.error, AssertionError):
        return Problem("assertion_failed", f"An assertion fails: {text}", place.pointer, None, place.column)
    got = _inputs_of_failure(failure)
    return Problem(_code_of(text), f"{text}{got}", place.pointer, _general_hint(text), place.column)


_SHOWN = 8
"""Shapes of inputs that a message shows."""


def _code_of(text: str) -> str:
    if any(words in text for words in ("not enough memory", "out of memory", "allocate memory")):
        return "model_too_large"
    if _DTYPE_WORDS.search(text):
        return "dtype_mismatch"
    return "shape_mismatch" if _SHAPE_WORDS.search(text) else "forward_failed"


def _general_hint(text: str) -> str | None:
    if text.startswith("maximum recursion depth"):
        return "A list or dict here holds itself, or lists are nested hundreds deep: make it flat."
    match = re.search(r"\((\d+)x(\d+) and (\d+)x(\d+)\)", text)
    if match:
        return f"The inner sizes must be equal: {match[2]} and {match[3]} differ."
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]


def _failed_layer(failure: Failure) -> tuple[str, nn.Module, tuple[object, ...]] | None:
    """Return the innermost module that was running and is a torch layer known to the definition."""
    recorder = failure.recorder
    if recorder is None:
        return None
    for module, arguments in reversed(recorder.stack):
        path = recorder.paths.get(id(module), "")
        node = failure.definition.tree.find(path)
        if node is not None:
            is_layer = type(module).__module__.startswith("torch.nn") and not node.is_container()
            return (path, module, arguments) if is_layer else None
    return None


def _inputs_of_failure(failure: Failure) -> str:
    if failure.recorder is None or not failure.recorder.stack:
        return ""
    _, arguments = failure.recorder.stack[-1]
    given = shapes(arguments)
    found = ", ".join("×".join(map(str, shape)) or "scalar" for shape in given[:_SHOWN])
    return f" (inputs: {found}{', …' if len(given) > _SHOWN else ''})" if found else ""


def _layer_problem(failure: Failure, path: str, module: nn.Module, arguments: tuple[object, ...]) -> Problem | None:
    node = failure.definition.tree.find(path)
    if node is None:
        return None
    place = node.place
    tensor = arguments[0] if arguments and isinstance(arguments[0], torch.Tensor) else None
    finding = _finding(module, tensor) if tensor is not None else None
    name = f"{type(module).__name__} {path!r}" if path else type(module).__name__
    title = f"{name} ({place.pointer})" if place.pointer else name
    if finding is not None:
        fix = f": {finding.hint}" if finding.hint else ""
        return Problem("shape_mismatch", f"{title} {finding.detail}{fix}", place.pointer, finding.hint, place.column)
    text = _first_line(failure.error)
    got = _inputs_of_failure(failure)
    return Problem(
        _code_of(text), f"{title}: {text}{got}", place.pointer, _dtype_hint(text) or _general_hint(text), place.column
    )


def _dtype_hint(text: str) -> str | None:
    if _DTYPE_WORDS.search(text) or "Expected tensor for argument #1 'indices'" in text:
        return "Give the input another dtype: embeddings take int64, other layers float32."
    return None


def _finding(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    for kinds, look in _LOOKS:
        if isinstance(module, kinds):
            return look(module, tensor)
    return None


def _linear(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    wanted, shape = int(module.in_features), list(tensor.shape)  # type: ignore[arg-type]
    if shape and shape[-1] == wanted:
        return None
    got = shape[-1] if shape else 1
    flat = torch.Size(shape[1:]).numel()
    if len(shape) > 2 and flat == wanted:
        return Finding(f"expects {wanted} features, got {_words(shape)}", "add Flatten() before it")
    if len(shape) == 4:
        return Finding(
            f"expects {wanted} features, got {_words(shape)}", f"add Flatten() before it and set in_features={flat}"
        )
    return Finding(f"expects {wanted} features, got {got}", f"set in_features={got}")


def _convolution(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    spatial = len(module.kernel_size)  # type: ignore[arg-type]
    wanted, shape = int(module.in_channels), list(tensor.shape)  # type: ignore[arg-type]
    if len(shape) not in (spatial + 1, spatial + 2):
        return Finding(
            f"expects {spatial + 2} dimensions (batch, channels, {spatial} spatial), got {len(shape)}: {_words(shape)}",
            "add Unflatten or reshape the input",
        )
    got = shape[-spatial - 1]
    if got != wanted:
        return Finding(f"expects {wanted} channels, got {got}", f"set in_channels={got}")
    return None


def _batch_norm(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    wanted, shape = int(module.num_features), list(tensor.shape)  # type: ignore[arg-type]
    ranks = {"1d": (2, 3), "2d": (4,), "3d": (5,)}.get(type(module).__name__[-2:], ())
    if ranks and len(shape) not in ranks:
        name = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}.get(len(shape))
        return Finding(f"expects {' or '.join(map(str, ranks))} dimensions, got {len(shape)}: {_words(shape)}",
                       f"use {name}" if name else None)  # fmt: skip
    got = shape[1]
    return None if got == wanted else Finding(f"expects {wanted} features, got {got}", f"set num_features={got}")


def _layer_norm(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    wanted = list(module.normalized_shape)  # type: ignore[arg-type]
    got = list(tensor.shape)[-len(wanted) :]
    if got == wanted:
        return None
    size = got[0] if len(got) == 1 else got
    return Finding(f"expects a last size of {_words(wanted)}, got {_words(got)}", f"set normalized_shape={size}")


def _group_norm(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    wanted, got = int(module.num_channels), int(tensor.shape[1]) if tensor.dim() > 1 else 0  # type: ignore[arg-type]
    return None if got == wanted else Finding(f"expects {wanted} channels, got {got}", f"set num_channels={got}")


def _recurrent(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    wanted, shape = int(module.input_size), list(tensor.shape)  # type: ignore[arg-type]
    ranks = (1, 2) if isinstance(module, nn.RNNCellBase) else (2, 3)
    if len(shape) not in ranks:
        return Finding(f"expects {ranks[1]} dimensions, got {len(shape)}: {_words(shape)}", "reshape its input")
    got = shape[-1]
    return None if got == wanted else Finding(f"expects {wanted} features, got {got}", f"set input_size={got}")


def _attention(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    wanted, got = int(module.embed_dim), int(tensor.shape[-1])  # type: ignore[arg-type]
    return None if got == wanted else Finding(f"expects {wanted} features, got {got}", f"set embed_dim={got}")


def _transformer_layer(module: nn.Module, tensor: torch.Tensor) -> Finding | None:
    wanted, got = int(module.self_attn.embed_dim), int(tensor.shape[-1])  # type: ignore[union-attr, arg-type]
    return None if got == wanted else Finding(f"expects {wanted} features, got {got}", f"set d_model={got}")


def _words(shape: list[int]) -> str:
    return "×".join(map(str, shape))


_LOOKS: tuple[tuple[tuple[type[nn.Module], ...], Callable[[nn.Module, torch.Tensor], Finding | None]], ...] = (
    ((nn.Linear,), _linear),
    ((nn.modules.conv._ConvNd,), _convolution),
    ((nn.modules.batchnorm._BatchNorm,), _batch_norm),
    ((nn.LayerNorm,), _layer_norm),
    ((nn.GroupNorm,), _group_norm),
    ((nn.RNNBase, nn.RNNCellBase), _recurrent),
    ((nn.MultiheadAttention,), _attention),
    ((nn.TransformerEncoderLayer, nn.TransformerDecoderLayer), _transformer_layer),
)
