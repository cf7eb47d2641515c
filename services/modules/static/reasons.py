"""Why a capture broke, in the words of whoever wrote the definition: place, reason, fix."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from services.modules.build import Code
from services.modules.static.graph import line_of, spot

MAX_BREAKS = 50
_NOISE = re.compile(r"For more details about this graph break.*|Set TORCHDYNAMO_VERBOSE.*", re.DOTALL)
_FIXES: tuple[tuple[str, str, str], ...] = (
    (
        r"while_loop|body_fn|carried",
        "A loop whose turns depend on data must keep the shape and dtype of every variable it changes.",
        "Give each variable its final shape and dtype before the loop: 0.0 instead of 0, a tensor instead of a list.",
    ),
    (
        r"Expected (true_fn|false_fn|branches).*to return|same (shape|dtype|number)|unmatched|return_type|"
        r"Mismatch in|fake tensor call.*\bcond\b|different (shapes|dtypes)|must have the same|_shape_env",
        "The two ways of this branch give values of different shape, dtype or number.",
        "Assign the same variables in `then` and `else`, with equal shapes and dtypes.",
    ),
    (
        r"item\(\)|_local_scalar_dense|tolist|data-dependent (operator|op)|GuardOnDataDependent|\.numpy\(",
        "A number is read out of a tensor, and what follows depends on it.",
        "Compute with the tensor itself: torch.where, masks, or `if`/`while` blocks with a condition.",
    ),
    (
        r"nonzero|dynamic (output )?shape|aten\.(masked_select|unique|index\.Tensor)",
        "The size of a result depends on the data.",
        "Keep the size: multiply by a mask, or use torch.where with three arguments.",
    ),
    (
        r"[Dd]ata-dependent branching|TensorVariable\(\)|Boolean value of Tensor",
        "A branch depends on the value of a tensor and could not become an operation.",
        "Let both ways only assign local variables of equal shape and dtype; no return inside a loop, no buffers.",
    ),
    (
        r"mutat|in-place|alias",
        "Something is written in place inside a branch or a loop that depends on data.",
        "Write x = x + y instead of x += y, and collect results in tensors instead of lists.",
    ),
    (
        r"outs_to_grad|tangents|CondAutogradOp|WhileLoopAutogradOp",
        "The backward pass of this branch or loop cannot be captured by this version of torch.",
        "Let a branch that depends on data return only floating-point results; no counters, flags or nested loops.",
    ),
)


def breaks_of(model: nn.Module, inputs: list[Any], code: Code, error: Exception) -> list[dict[str, Any]]:
    """Return every place at which a capture breaks: all of them where torch can go on, else the first."""
    torch._dynamo.reset()
    try:
        with torch._dynamo.config.patch(capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True):
            found = torch._dynamo.explain(model)(*inputs).break_reasons
    except Exception as another:  # noqa: BLE001 - whatever stops torch is the answer
        return [break_of(another, code)]
    finally:
        torch._dynamo.reset()
    rows = [_row(one.reason, _innermost(one.user_stack, code), code) for one in found[:MAX_BREAKS]]
    return list({str(row): row for row in rows}.values()) or [break_of(error, code)]


def break_of(error: Exception, code: Code) -> dict[str, Any]:
    """Return place, reason and fix of an exception that torch raised while it captured."""
    line = _innermost(getattr(error, "real_stack", None) or (), code) or line_of(str(error), code)
    return _row(str(error), line, code)


def _innermost(stack: Any, code: Code) -> int | None:  # noqa: ANN401 - a traceback.StackSummary
    lines = [frame.lineno for frame in stack if frame.filename == code.filename]
    return lines[-1] if lines else None


def _row(text: str, line: int | None, code: Code) -> dict[str, Any]:
    reason, hint = "torch cannot capture this.", None
    for pattern, known, fix in _FIXES:
        if re.search(pattern, text, re.DOTALL):
            reason, hint = known, fix
            break
    return {**spot(code, line), "reason": reason, "hint": hint, "torch": _said(text)}


def _said(text: str) -> str:
    """Return what torch said, without paths of this machine and without advice to people who debug torch."""
    text = re.sub(r'File "(?!<definition)[^"]*/([^"/]+)"', r'File "\1"', _NOISE.sub("", text))
    return " ".join(text.split())[:600]
