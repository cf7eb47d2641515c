"""What is written in and beside the boxes: names, values of small tensors, shapes and summaries, tooltips."""

from __future__ import annotations

import json
from typing import Any

from services.pictures.document import Datum, Operation
from services.pictures.frames import Frame
from services.pictures.scene import Box, Link

SYMBOLS = {
    "add": "+", "sub": "−", "mul": "×", "div": "÷", "matmul": "@", "pow": "^", "neg": "−", "add_": "+=",
    "sub_": "−=", "mul_": "×=", "div_": "÷=", "gt": ">", "ge": "≥", "lt": "<", "le": "≤", "eq": "=", "ne": "≠",
}  # fmt: skip
BESIDE = "\u2003"
"""Between a name and what stands beside it in the same line."""
MAX_LETTERS = 36  # of a name
MAX_ROW = 64
_INLINE = 6  # elements of a vector that are written out
_ROWS = 4  # of a matrix that is written out, and columns


def lines(box: Box, *, brief: bool = False) -> list[str]:
    """Return what stands in a box, the name first.

    ``brief`` is for pictures with closed groups: one line for a name and what it is, and no spread of large tensors.
    """
    subject = box.subject
    if isinstance(subject, Datum):
        rows = _datum(subject, clip(_short(subject.name, box)), brief=brief)
    elif isinstance(subject, Operation):
        rows = [clip(SYMBOLS.get(subject.name, subject.name))]
    else:
        rows = _group(subject, box)
    clipped = [row for row in (clip(row, MAX_ROW) for row in [*rows, box.note]) if row] or ["?"]
    joined = 1 + bool(box.note) if isinstance(subject, Frame) else int(_is_named_shape(subject))
    return [BESIDE.join(clipped[: joined + 1]), *clipped[joined + 1 :]] if brief else clipped


def _is_named_shape(subject: Datum | Operation) -> bool:
    """Whether the second line is a shape that may stand beside the name."""
    return isinstance(subject, Datum) and bool(subject.name) and _written(subject.value) is None


def title(frame: Frame) -> str:
    """Return what is written at a frame."""
    return clip(frame.label, MAX_ROW) or "?"


def tooltip(box: Box) -> str:
    """Return everything that is known of a box, line by line."""
    subject = box.subject
    if isinstance(subject, Datum):
        return "\n".join(_datum_facts(subject))
    if isinstance(subject, Operation):
        return "\n".join(_operation_facts(subject))
    return subject.tooltip


def link_tooltip(link: Link) -> str:
    """Return what flows along a link, and how much gradient comes back."""
    names = ", ".join(link.data[:8]) + (", …" if len(link.data) > 8 else "")
    return names if link.gradient is None else f"{names}\nnorm of the gradient {figure(link.gradient)}"


def clip(text: str, letters: int = MAX_LETTERS) -> str:
    """Return ``text`` in one line, cut in its middle where it is too long to read."""
    flat = " ".join(text.split())
    if len(flat) <= letters:
        return flat
    head = (letters - 1) // 2
    return f"{flat[:head]}…{flat[-(letters - 1 - head) :]}"


def figure(value: object) -> str:
    """Return a number with four significant digits, or the word for what is no number."""
    if isinstance(value, bool | str):
        return {"Infinity": "∞", "-Infinity": "−∞"}.get(str(value), str(value))
    if isinstance(value, int):
        return str(value) if abs(value) < 10**7 else f"{value:.4g}"
    return f"{value:.4g}" if isinstance(value, float) else "?"


def _short(name: str, box: Box) -> str:
    """Return a dotted name without what the frame around the box says already."""
    modules = [key.removeprefix("module:") for key in box.inside if key.startswith("module:")]
    return name.removeprefix(f"{modules[-1]}.") if modules else name


def _datum(datum: Datum, name: str, *, brief: bool) -> list[str]:
    shape = _shape(datum)
    dtype = "" if datum.dtype in ("float32", "float64", "") else f" {datum.dtype}"
    written = _written(datum.value)
    if written is None:
        rest = [shape + dtype, *([] if brief else _spread(datum))]
        rows = [name, *rest] if name else rest
    elif len(written) == 1:
        rows = [f"{name} = {written[0]}" if name else written[0]]
    else:
        rows = [name, *written] if name else written
    bad = " ".join(f"{word}×{count}" for word, count in zip(("NaN", "∞"), datum.not_finite, strict=True) if count)
    rows += [bad] if bad and written is None else []
    slope = _written(datum.gradient)
    if slope is not None and len(slope) == 1:
        rows.append(f"∂ {slope[0]}")
    elif datum.gradient_norm is not None:
        rows.append(f"‖∂‖ {figure(datum.gradient_norm)}")
    return rows


def _shape(datum: Datum) -> str:
    """In round brackets, as values stand in square ones."""
    return f"({', '.join(map(str, datum.shape))}{',' if len(datum.shape) == 1 else ''})"


def _written(value: Any) -> list[str] | None:  # noqa: ANN401 - a JSON value
    """Return a scalar, a short vector or a small matrix as lines; None where there is too much of it."""
    if value is None:
        return None
    if not isinstance(value, list):
        return [figure(value)]
    if not any(isinstance(item, list) for item in value):
        return [f"[{', '.join(map(_short_figure, value))}]"] if len(value) <= _INLINE else None
    if len(value) == 1:
        inner = _written(value[0])
        return [f"[{inner[0]}]"] if inner and len(inner) == 1 else None
    flat = all(isinstance(row, list) and not any(isinstance(item, list) for item in row) for row in value)
    if not flat or len(value) > _ROWS or any(len(row) > _ROWS for row in value):
        return None
    return [f"[{', '.join(map(_short_figure, row))}]" for row in value]


def _spread(datum: Datum) -> list[str]:
    mean, deviation = datum.summary.get("mean"), datum.summary.get("std")
    if mean is None:
        return []
    return [figure(mean) if deviation is None else f"{figure(mean)} ± {figure(deviation)}"]


def _group(frame: Frame, box: Box) -> list[str]:
    if frame.kind != "module":
        return [frame.label]
    return [clip(frame.label.removeprefix(f"{frame.path} · ")), clip(_short(frame.path, box))]


def _short_figure(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else figure(value)


def _datum_facts(datum: Datum) -> list[str]:
    traits = [datum.kind, f"shape {_shape(datum)}", datum.dtype]
    traits += ["requires grad"] if datum.requires_grad else []
    facts = [datum.name or datum.id, ", ".join(filter(None, traits))]
    if datum.value is not None:
        facts.append(f"value {_compact(datum.value)}")
    if datum.summary:
        facts.append(", ".join(f"{name} {figure(value)}" for name, value in datum.summary.items() if value is not None))
    if datum.gradient is not None:
        facts.append(f"gradient {_compact(datum.gradient)}")
    if datum.gradient_norm is not None:
        facts.append(f"norm of the gradient {figure(datum.gradient_norm)}")
    return facts


def _operation_facts(operation: Operation) -> list[str]:
    facts = [" · ".join(filter(None, [operation.name, operation.torch]))]
    if operation.arguments:
        facts.append(_compact(dict(operation.arguments)))
    facts += [operation.source] if operation.source else []
    facts += [f"at {operation.place}"] if operation.place else []
    if operation.module:
        facts.append(f"in {operation.module}, call {operation.call}")
    facts += [f"backward {operation.backward}"] if operation.backward else []
    facts += ["in place: writes to its first input"] if operation.in_place else []
    facts += ["the first operation whose result is not finite"] if operation.first_non_finite else []
    return facts


def _compact(value: object, letters: int = 400) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return text if len(text) <= letters else f"{text[:letters]}…"
