"""The tree of a module as ``print(net)`` draws it, with the shapes of each first call and the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

_INDENT = "  "
_GAP = "   "


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the tree: what ``print(net)`` shows, and the two columns beside it."""

    text: str
    shapes: str = ""
    parameters: str = ""


def summary_tree(model: nn.Module, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the module tree as nested JSON: ``{path, name, type, arguments, calls, parameters, children}``.

    Args:
        model: the module; its tensors are not looked at, only counted.
        calls: the rows of a preflight report's ``layers``; a module called twice has two.
    """
    by_path: dict[str, list[Mapping[str, Any]]] = {}
    for call in calls:
        by_path.setdefault(call["path"], []).append(call)
    return _node(model, "", "", by_path)


def summary_text(tree: Mapping[str, Any]) -> str:
    """Return the tree as aligned text, the totals last."""
    lines = list(_lines(tree, 0))
    width = max(len(line.text) for line in lines)
    shapes = max((len(line.shapes) for line in lines), default=0)
    rows = [f"{line.text:<{width}}{_GAP}{line.shapes:<{shapes}}{_GAP}{line.parameters:>12}".rstrip() for line in lines]
    total, trainable = tree["parameters"]["total"], tree["parameters"]["trainable"]
    return "\n".join([*rows, "", f"{total:,} parameters, {trainable:,} of them trainable", ""])


def _node(module: nn.Module, path: str, name: str, calls: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Any]:
    tensors = list(module.parameters())
    children = [
        _node(child, f"{path}.{key}".lstrip("."), key, calls)
        for key, child in module._modules.items()
        if child is not None
    ]
    return {
        "path": path,
        "name": name,
        "type": type(module).__name__,
        "arguments": module.extra_repr(),
        "parameters": {
            "total": sum(tensor.numel() for tensor in tensors),
            "trainable": sum(tensor.numel() for tensor in tensors if tensor.requires_grad),
        },
        "calls": [{"inputs": call["input_shapes"], "outputs": call["output_shapes"]} for call in calls.get(path, [])],
        "children": children,
    }


def _lines(node: Mapping[str, Any], depth: int) -> Iterator[Line]:
    label = f"({node['name']}): " if depth else ""
    begin = f"{_INDENT * depth}{label}{node['type']}("
    columns = _shapes(node), f"{node['parameters']['total']:,}" if node["parameters"]["total"] else ""
    if not node["children"]:
        yield Line(f"{begin}{node['arguments']})", *columns)
        return
    yield Line(begin, *columns)
    for child in node["children"]:
        yield from _lines(child, depth + 1)
    yield Line(f"{_INDENT * depth})")


def _shapes(node: Mapping[str, Any]) -> str:
    """Return the shapes of the first call, and how many calls there were."""
    if not node["calls"]:
        return ""
    first = node["calls"][0]
    times = f" ×{len(node['calls'])}" if len(node["calls"]) > 1 else ""
    return f"{_shown(first['inputs'])} → {_shown(first['outputs'])}{times}"


def _shown(shapes: Sequence[Sequence[int | str]]) -> str:
    return ", ".join(f"[{', '.join(map(str, shape))}]" for shape in shapes[:3]) + (", …" if len(shapes) > 3 else "")
