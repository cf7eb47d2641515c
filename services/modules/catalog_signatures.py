"""Reads signatures of torch: from Python where it has them, else from its stub files or its docstrings."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.nn import functional

from services.modules.catalog_selection import REFUSED_ARGUMENTS

Signature = list[list[Any]]
"""One overload: ``[name, kind, type]`` or ``[name, kind, type, default]``; kind is p, a, * or k."""

# torch writes these constructors as ``*args, **kwargs``; this is what their documentation says.
_RECURRENT = "input_size: int, hidden_size: int, num_layers: int = 1, "
_RECURRENT_TAIL = "bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False"
_BY_HAND = {
    "RNN": f"{_RECURRENT}nonlinearity: str = 'tanh', {_RECURRENT_TAIL}",
    "GRU": _RECURRENT + _RECURRENT_TAIL,
    "LSTM": f"{_RECURRENT}{_RECURRENT_TAIL}, proj_size: int = 0",
    "Sequential": "*layers: Module",
    "Flatten": "start_dim: int = 1, end_dim: int = -1",
    "Identity": "",
    "ModuleList": "modules: modules = None",
    "ModuleDict": "modules: moduledict = None",
    "ParameterList": "values: list = None",
    "ParameterDict": "parameters: dict = None",
}
_TYPES = (
    ("tensor", r"\bTensor\b"), ("module", r"\bModule\b"), ("modules", r"^modules$"), ("moduledict", r"^moduledict$"),
    ("ints", r"_size|_ratio|Sequence|List\[int|list\[int|tuple\[int|Tuple\[int|_shape_t|Size"), ("bool", r"bool"),
    ("number", r"float|Number|double"), ("int", r"int"), ("str", r"str"), ("list", r"^list$"), ("dict", r"^dict$"),
)  # fmt: skip

# What torch leaves without an annotation, or annotates with a callable.
_TYPES_BY_NAME = {
    "activation": "str", "encoder_layer": "module", "decoder_layer": "module", "embed_dim": "int", "num_heads": "int",
    "kdim": "int", "vdim": "int", "padding_mode": "str",
}  # fmt: skip


class Stubs:
    """The overloads written in torch's own ``.pyi`` files."""

    def __init__(self, root: Path) -> None:
        self.functions = _overloads(_parse(root / "_C" / "_VariableFunctions.pyi").body)
        self.nn = _overloads(_parse(root / "_C" / "_nn.pyi").body)
        classes = [n for n in _parse(root / "_C" / "__init__.pyi").body if isinstance(n, ast.ClassDef)]
        base = next(node for node in classes if node.name == "TensorBase")
        self.methods = _overloads(base.body, drop_first=True)
        for name, text in _METHODS_BY_HAND.items():
            self.methods[name] = [_text_signature(line) for line in text]


_METHODS_BY_HAND = {
    "norm": ["p: float = 'fro', dim: ints = None, keepdim: bool = False, dtype: int = None"],
    "split": ["split_size: ints, dim: int = 0"],
    "unflatten": ["dim: int, sizes: ints"],
    "stft": ["n_fft: int, hop_length: int = None, win_length: int = None, window: Tensor = None, center: bool = True"],
    "unique": ["sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int = None"],
    "unique_consecutive": ["return_inverse: bool = False, return_counts: bool = False, dim: int = None"],
    "tolist": [""],
    "item": [""],
    "dim": [""],
    "to": ["dtype: object, non_blocking: bool = False, copy: bool = False", "other: Tensor"],
    "view": ["*shape: int", "size: ints", "dtype: object"],
}


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _overloads(body: list[ast.stmt], *, drop_first: bool = False) -> dict[str, list[Signature]]:
    table: dict[str, list[Signature]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            overloads = table.setdefault(node.name, [])
            signature = _signature(node.args, drop_first=drop_first)
            if signature not in overloads:
                overloads.append(signature)
    return table


def _signature(arguments: ast.arguments, *, drop_first: bool = False) -> Signature:
    positional = [("p", a) for a in arguments.posonlyargs] + [("a", a) for a in arguments.args]
    missing = len(positional) - len(arguments.defaults)
    defaults: list[ast.expr | None] = [None] * missing + list(arguments.defaults)
    rows = [_row(kind, arg, default) for (kind, arg), default in zip(positional, defaults, strict=True)]
    if drop_first:
        rows = rows[1:]
    if arguments.vararg:
        rows.append(_row("*", arguments.vararg, None))
    rows += [_row("k", a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    # dtype and device are an argument of tensor functions (x.device), never of a constructor.
    hidden = REFUSED_ARGUMENTS - {"dtype", "device", "names"}
    return [row for row in rows if row[0] not in hidden and not row[0].startswith("_")]


def _row(kind: str, argument: ast.arg, default: ast.expr | None) -> list[Any]:
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    row: list[Any] = [argument.arg, kind, type_name(annotation)]
    if default is not None:
        row.append(_literal(default))
    return row


def _literal(node: ast.expr) -> object:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
    return _json_default(value)


def type_name(annotation: str) -> str:
    """Return the language's name for an annotation: int, ints, number, bool, str, tensor, module or any."""
    matches = [name for name, pattern in _TYPES if re.search(pattern, annotation)]
    if "int" in matches and "number" in matches and "ints" not in matches:
        return "number"
    return matches[0] if matches else "any"


def _text_signature(text: str) -> Signature:
    node = ast.parse(f"def f({text}): ...").body[0]
    if not isinstance(node, ast.FunctionDef):
        raise SyntaxError(text)
    return _signature(node.args)


def class_parameters(cls: type) -> Signature:
    """Return the constructor's parameters that a document may give."""
    if cls.__name__ in _BY_HAND:
        return _text_signature(_BY_HAND[cls.__name__])
    rows = []
    for parameter in list(inspect.signature(cls).parameters.values()):
        if (
            parameter.name in REFUSED_ARGUMENTS
            or parameter.name.startswith("_")
            or parameter.kind == parameter.VAR_KEYWORD
        ):
            continue
        rows.append(_parameter_row(parameter))
    return rows


def _parameter_row(parameter: inspect.Parameter) -> list[Any]:
    kind = {"VAR_POSITIONAL": "*", "KEYWORD_ONLY": "k", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "a")
    annotation = "" if parameter.annotation is parameter.empty else str(parameter.annotation)
    if isinstance(parameter.annotation, type):
        annotation = parameter.annotation.__name__
    name = type_name(annotation) if annotation else _type_of_default(parameter.default)
    name = _TYPES_BY_NAME.get(parameter.name, name)
    row: list[Any] = [parameter.name, kind, name]
    if parameter.default is not parameter.empty:
        row.append(_json_default(parameter.default))
    return row


def _json_default(default: object) -> object:
    if callable(default):
        return getattr(default, "__name__", "")
    if isinstance(default, tuple):
        return list(default)
    return default if isinstance(default, bool | int | float | str) or default is None else str(default)


def _type_of_default(default: object) -> str:
    kinds = {bool: "bool", int: "int", float: "number", str: "str", tuple: "ints"}
    return kinds.get(type(default), "any")


def function_signatures(space: str, name: str, function: Callable[..., object], stubs: Stubs) -> list[Signature]:
    """Return the overloads of one function; an empty list means that only torch knows."""
    if space == "torch" and name in stubs.functions:
        return stubs.functions[name]
    if space == "F" and hasattr(functional, f"{name}_with_indices"):
        function = getattr(functional, f"{name}_with_indices")
    try:
        return [_from_python(function)]
    except (TypeError, ValueError):
        pass
    if space == "F" and name in stubs.nn:
        return stubs.nn[name]
    return stubs.functions.get(name, []) or _from_docstring(name, function)


def _from_python(function: Callable[..., object]) -> Signature:
    rows = [_parameter_row(p) for p in inspect.signature(function).parameters.values()]
    if any(row[1] == "**" for row in rows):
        raise ValueError("says nothing")
    hidden = REFUSED_ARGUMENTS - {"dtype", "device"}
    return [row for row in rows if row[0] not in hidden and not row[0].startswith("_")]


def _from_docstring(name: str, function: Callable[..., object]) -> list[Signature]:
    match = re.match(rf"\s*(?:torch\.)?[\w.]*{name}\((.*?)\)\s*->", function.__doc__ or "", re.DOTALL)
    if not match:
        return []
    text = re.sub(r"[\[\]]", "", match.group(1)).replace("\n", " ")
    try:
        return [_text_signature(text)]
    except SyntaxError:
        return []
