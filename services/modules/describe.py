"""The way back: a live ``nn.Module`` becomes a definition, from its state and the source of its forward."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from services.definition import Definition, check
from services.definition.catalog import CATALOG
from services.definition.limits import MAX_RECURSION
from services.errors import InvalidRequest, Problem
from services.modules.build import build
from services.modules.describe_layers import Undescribable, constructor
from services.modules.describe_source import Methods, Source
from services.modules.describe_trace import traced

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
MAX_LITERAL_ELEMENTS = 4_096
"""A buffer that is not saved with the weights is written out, up to this size."""


def describe(module: nn.Module) -> Definition:
    """Return the definition of a live module; ``build`` of it takes the module's ``state_dict``.

    Layers and containers of torch are read from their attributes. Own classes are read from the source of their
    ``forward`` and of what it calls; their children, parameters and constants from the instance. A forward whose
    source does not fit is traced.

    Raises:
        InvalidRequest: code ``cannot_describe``, naming the module, and file and line where it is code.
    """
    describer = _Describer()
    try:
        document: dict[str, Any] = {"format": "model/1", "model": describer.position(module, "")}
    except Undescribable as error:
        raise InvalidRequest([Problem("cannot_describe", str(error))]) from None
    if describer.definitions:
        document["modules"] = describer.definitions
    try:
        definition = _checked(document)
    except InvalidRequest as error:
        raise InvalidRequest([describer.at_its_line(problem, document) for problem in error.problems]) from None
    _verify(module, definition)
    return definition


def _checked(document: dict[str, Any]) -> Definition:
    """Check a description; functions that call themselves get the deepest bound, for Python code has none."""
    try:
        return check(document)
    except InvalidRequest as error:
        endless = [problem.pointer for problem in error.problems if problem.code == "recursive_definition"]
        if not endless:
            raise
    for pointer in endless:
        _at(document, pointer)["at_most"] = MAX_RECURSION
    return check(document)


def _at(document: Any, pointer: str) -> Any:  # noqa: ANN401 - any JSON
    """Return what stands at a pointer into a document, or "" where nothing does."""
    value = document
    for token in pointer.split("/")[1:]:
        value = value[int(token)] if isinstance(value, list) else value.get(token, "")
    return value


def _verify(module: nn.Module, definition: Definition) -> None:
    """Make sure that the description has the module's keys, shapes and shared tensors."""
    with torch.device("meta"):
        twin = build(definition)
    if _shared(twin) != _shared(module):
        shared = ", ".join(next(iter(_shared(module)), []))
        raise InvalidRequest([Problem("cannot_describe", f"Containers alone cannot share tensors: {shared}.")])
    ours = {name: tuple(tensor.shape) for name, tensor in twin.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if list(ours.items()) != list(theirs.items()):
        different = next(iter(dict(set(ours.items()) ^ set(theirs.items()))), "the order of its keys")
        raise InvalidRequest([Problem("cannot_describe", f"The description differs from the module at {different!r}.")])


class _Describer:
    """Collects the definitions of one model; equal ones are shared."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.source = Source()
        self._names: dict[str, str] = {}

    def position(self, module: nn.Module, path: str) -> Any:  # noqa: ANN401 - a module position
        """Return the module position of one module."""
        kind = type(module)
        if isinstance(module, nn.ParameterList | nn.ParameterDict) and kind.__module__.startswith("torch.nn"):
            values = {name: _tensor(name, tensor, path) for name, tensor in module._parameters.items()}
            listed = isinstance(module, nn.ParameterList)
            return {"type": kind.__name__, "parameters": list(values.values()) if listed else values}
        if _is_plain_container(module):
            return self._container(module, path)
        if getattr(nn, kind.__name__, None) is kind and kind.__name__ in CATALOG.classes:
            return constructor(module, path, self.position)
        return {"type": self._own(module, path)}

    def _container(self, module: nn.Module, path: str) -> Any:  # noqa: ANN401 - a module position
        children = [(name, self.position(child, _join(path, name))) for name, child in module._modules.items() if child]
        kind = next(one.__name__ for one in _CONTAINERS if isinstance(module, one))
        numbered = [name for name, _ in children] == [str(index) for index in range(len(children))]
        if isinstance(module, nn.ModuleDict) or not numbered:
            return {"type": kind, "layers": [{name: child} for name, child in children]}
        return {"type": kind, "layers": [child for _, child in children]}

    def _own(self, module: nn.Module, path: str) -> str:
        """Return the name of the definition of a module of the user's own class."""
        methods = self._methods(module, path)
        items: list[dict[str, Any]] = [{name: _tensor(name, value, path)} for name, value in module._parameters.items()]
        items += [{name: self._buffer(module, name, path)} for name in module._buffers]
        items += [{name: self.position(child, _join(path, name))} if child is not None else {name: {"value": None}}
                  for name, child in module._modules.items()]  # fmt: skip
        items += [{name: {"value": value}} for name, value in methods.constants.items()]
        items += [{"tie": paths} for paths in _shared(module)]
        content: dict[str, Any] = {"init": items, "forward": methods.functions.pop("forward")}
        if methods.functions:
            content["methods"] = methods.functions
        self.definitions.update(methods.helpers)
        return self._named(type(module).__name__, content)

    def _methods(self, module: nn.Module, path: str) -> Methods:
        """Read the source of a forward; where it does not fit, trace it."""
        try:
            return self.source.methods(module, path)
        except Undescribable as error:
            try:
                return Methods({"forward": traced(module, path)})
            except Undescribable as second:
                raise Undescribable(f"{error} Nor can it be traced: {second}") from None

    def _named(self, name: str, content: dict[str, Any]) -> str:
        key = json.dumps(content, sort_keys=True, default=str)
        if key not in self._names:
            base = name.strip("_") or "Module"
            base = f"Own{base}" if base in CATALOG.classes else base
            number = sum(known.startswith(base) for known in self.definitions)
            self._names[key] = f"{base}{number + 1}" if number else base
            self.definitions[self._names[key]] = content
        return self._names[key]

    def _buffer(self, module: nn.Module, name: str, path: str) -> dict[str, Any]:
        value = module._buffers[name]
        if value is None:
            return {"value": None}
        if name not in module._non_persistent_buffers_set:
            return {"buffer": f"zeros({list(value.shape)}, dtype={value.dtype})"}
        if value.numel() > MAX_LITERAL_ELEMENTS:
            where = _join(path, name)
            raise Undescribable(f"The buffer {where!r} is not saved with the weights, and is too large to be written.")
        items = json.dumps(value.tolist()).replace("-Infinity", "-math.inf").replace("Infinity", "math.inf")
        items = items.replace("true", "True").replace("false", "False").replace("NaN", "math.nan")
        return {"buffer": f"tensor({items}, dtype={value.dtype})", "persistent": False}

    def at_its_line(self, problem: Problem, document: Any) -> Problem:  # noqa: ANN401 - any JSON
        """Return a problem of the checker as a refusal that names file and line."""
        value = _at(document, problem.pointer)
        line = self.source.lines.get(value if isinstance(value, str) else "")
        where = f"{line}: " if line else ""
        return Problem("cannot_describe", f"{where}{problem.detail}", problem.pointer, problem.hint, problem.column)


def _is_plain_container(module: nn.Module) -> bool:
    """Return whether a module is one of torch's containers, or of a class that only fills one."""
    base = next((one for one in _CONTAINERS if isinstance(module, one)), None)
    if base is None or module._parameters or module._buffers:
        return False
    return type(module) is base or type(module).forward is base.forward


def _tensor(name: str, value: nn.Parameter | None, path: str) -> dict[str, Any]:
    if value is None:
        return {"value": None}
    if isinstance(value, nn.UninitializedParameter):
        raise Undescribable(f"The parameter {_join(path, name)!r} has no shape yet: run the model once.")
    expression = f"zeros({list(value.shape)}, dtype={value.dtype})"
    return {"parameter": expression} if value.requires_grad else {"parameter": expression, "trainable": False}


def _shared(module: nn.Module) -> list[list[str]]:
    """Return the paths of tensors that stand in several places below a module."""
    groups: dict[int, list[str]] = {}
    for path, parameter in module.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(path)
    return [paths for paths in groups.values() if len(paths) > 1]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
