"""Describes a forward whose source does not fit: follows it on stand-ins (torch.fx), in train and in eval mode."""

from __future__ import annotations

import builtins
import dis
import inspect
import math
import operator
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from services.modules.describe_layers import Undescribable

# A trace would lose what these do: blocks such as no_grad, written attributes and globals, caught exceptions.
_LOST = {"BEFORE_WITH", "SETUP_WITH", "STORE_ATTR", "STORE_GLOBAL", "DELETE_ATTR", "PUSH_EXC_INFO", "SETUP_FINALLY"}
_LOST_NAMES = {"print", "random", "time", "numpy", "np", "open", "item", "tolist", "backward", "register_hook"}
_SYMBOLS: dict[Callable[..., Any], str] = {
    operator.add: "{} + {}", operator.sub: "{} - {}", operator.mul: "{} * {}", operator.truediv: "{} / {}",
    operator.floordiv: "{} // {}", operator.mod: "{} % {}", operator.pow: "{} ** {}", operator.matmul: "{} @ {}",
    operator.neg: "-{}", operator.getitem: "{}[{}]", operator.eq: "{} == {}", operator.ne: "{} != {}",
    operator.lt: "{} < {}", operator.le: "{} <= {}", operator.gt: "{} > {}", operator.ge: "{} >= {}",
    operator.and_: "{} & {}", operator.or_: "{} | {}", operator.invert: "~{}", operator.iadd: "{} + {}",
    operator.imul: "{} * {}", operator.isub: "{} - {}", operator.itruediv: "{} / {}",
}  # fmt: skip
_IN_PLACE = {operator.iadd: "+=", operator.isub: "-=", operator.imul: "*=", operator.itruediv: "/="}
_SPACES: tuple[tuple[str, object], ...] = (("torch", torch), ("F", functional), ("math", math), ("", builtins))


class _OneLevel(fx.Tracer):
    """Follows one forward; children stay calls."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Never look into a child: it is described on its own."""
        return True


def traced(module: nn.Module, path: str) -> dict[str, Any]:
    """Return ``{"arguments", "body"}`` of a module's forward.

    Where train and eval differ, both are kept under ``if self.training``. Sizes stay free: nothing is run on numbers.

    Raises:
        Undescribable: the forward branches on its inputs, or does what a trace would lose.
    """
    owner = f"{type(module).__name__} {path!r}"
    _refuse_lost(type(module).forward, owner)
    was_training = module.training
    try:
        bodies = [_body(module, owner, training=training) for training in (True, False)]
    finally:
        module.train(was_training)
    arguments, train = bodies[0]
    body: list[Any] = (
        train if bodies[0] == bodies[1] else [{"if": "self.training", "then": train, "else": bodies[1][1]}]
    )
    return {"arguments": arguments, "body": body}


def _refuse_lost(function: Callable[..., object], owner: str) -> None:
    code = inspect.unwrap(function).__code__
    waiting = [code]
    while waiting:
        current = waiting.pop()
        waiting += [constant for constant in current.co_consts if isinstance(constant, types.CodeType)]
        operations = {instruction.opname for instruction in dis.get_instructions(current)}
        lost = sorted((operations & _LOST) | (set(current.co_names) & _LOST_NAMES))
        if lost:
            raise Undescribable(f"{owner}: its forward does what a trace would lose ({', '.join(lost).lower()}).")


def _body(module: nn.Module, owner: str, *, training: bool) -> tuple[list[Any], list[str]]:
    # Only the flag of this module: its children are calls, and keep theirs.
    module.training = training
    try:
        graphs = [_OneLevel().trace(module) for _ in range(2)]
    except Exception as error:  # noqa: BLE001 - the user's forward may raise anything on a stand-in
        raise Undescribable(f"{owner}: its forward cannot be traced: {str(error).splitlines()[0][:200]}") from None
    if str(graphs[0]) != str(graphs[1]):
        raise Undescribable(f"{owner}: its forward is different each time it runs.")
    writer = _Writer(module, owner)
    return writer.write(graphs[0])


class _Writer:
    """Writes a graph as statements of the language."""

    def __init__(self, module: nn.Module, owner: str) -> None:
        self.module = module
        self.owner = owner
        self.names: dict[fx.Node, str] = {}

    def write(self, graph: fx.Graph) -> tuple[list[Any], list[str]]:
        """Return arguments and statements."""
        arguments: list[Any] = []
        statements: list[str] = []
        for node in graph.nodes:
            self.names[node] = f"{node.name.strip('_')}_" if node.op != "placeholder" else str(node.target)
            if node.op == "placeholder":
                default = [{"name": str(node.target), "default": node.args[0]}] if node.args else [str(node.target)]
                arguments += default
            elif node.op == "output":
                statements.append(f"return {self.text(node.args[0])}")
            else:
                statements += self._statement(node)
        return arguments, statements

    def _statement(self, node: fx.Node) -> list[str]:
        if node.op == "call_function" and node.target in _IN_PLACE:
            target = self.text(node.args[0])
            symbol = _IN_PLACE[node.target]
            return [f"{target} {symbol} {self.text(node.args[1])}", f"{self.names[node]} = {target}"]
        return [f"{self.names[node]} = {self._value(node)}"]

    def _value(self, node: fx.Node) -> str:
        if node.op == "get_attr":
            return self._path(str(node.target))
        if node.op == "call_module":
            return f"{self._path(str(node.target))}({self._arguments(node.args, node.kwargs)})"
        if node.op == "call_method":
            owner, *rest = node.args
            return f"{self.text(owner)}.{node.target}({self._arguments(rest, node.kwargs)})"
        return self._call(node)

    def _call(self, node: fx.Node) -> str:
        function: Any = node.target
        if function is getattr:
            return f"{self.text(node.args[0])}.{node.args[1]}"
        if function is operator.getitem and isinstance(node.args[1], tuple) and node.args[1]:
            return f"{self.text(node.args[0])}[{', '.join(self.text(part) for part in node.args[1])}]"
        if function in _SYMBOLS:
            return _SYMBOLS[function].format(*(self.text(argument) for argument in node.args))
        name = getattr(function, "__name__", "")
        for space, holder in _SPACES:
            if getattr(holder, name, None) is function:
                return f"{space}.{name}".strip(".") + f"({self._arguments(node.args, node.kwargs)})"
        raise Undescribable(f"{self.owner}: it calls {name or function!r:.60}, which is no function of torch.")

    def _path(self, target: str) -> str:
        """Write ``layers.0.weight`` as ``self.layers[0].weight``."""
        return "self" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in target.split("."))

    def _arguments(self, positional: Any, named: Any) -> str:  # noqa: ANN401 - what fx gives
        parts = [self.text(value) for value in positional]
        return ", ".join([*parts, *(f"{name}={self.text(value)}" for name, value in named.items())])

    def text(self, value: Any) -> str:  # noqa: ANN401, PLR0911 - what fx gives, one kind a line
        """Write one argument."""
        if isinstance(value, fx.Node):
            return self.names[value]
        if isinstance(value, tuple):
            return "(" + "".join(f"{self.text(item)}, " for item in value) + ")"
        if isinstance(value, list):
            return "[" + ", ".join(self.text(item) for item in value) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key!r}: {self.text(item)}" for key, item in value.items()) + "}"
        if isinstance(value, slice):
            bounds = ["" if part is None else self.text(part) for part in (value.start, value.stop, value.step)]
            return ":".join(bounds[: 3 if bounds[2] else 2])
        if value is Ellipsis:
            return "..."
        if isinstance(value, float) and not math.isfinite(value):
            return {math.inf: "math.inf", -math.inf: "-math.inf"}.get(value, "math.nan")
        if value is None or isinstance(value, bool | int | float | str | torch.dtype):
            return str(value) if isinstance(value, torch.dtype) else repr(value)
        raise Undescribable(f"{self.owner}: {value!r:.60} is no plain value.")
