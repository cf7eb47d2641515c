"""Builds ``services/definition/catalog/catalog.json`` from the installed torch; run it as a module."""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional, init

from services.modules import catalog_selection as selection
from services.modules.catalog_signatures import Stubs, class_parameters, function_signatures

PATH = Path(__file__).parents[1] / "definition" / "catalog" / "catalog.json"

_FAMILIES = (
    ("loss", r"Loss$"), ("container", r"^(Sequential|Module(List|Dict)|Parameter(List|Dict))$"),
    ("convolution", r"Conv|Fold$"), ("pooling", r"Pool"), ("padding", r"Pad\dd$"),
    ("normalisation", r"Norm|LRN|LocalResp"),
    ("recurrent", r"^(RNN|LSTM|GRU)"), ("transformer", r"Transformer|MultiheadAttention"), ("dropout", r"Dropout"),
    ("linear", r"^(Linear|Bilinear|Identity)$"), ("embedding", r"^Embedding"), ("shape", r"latten|Shuffle|Upsampl"),
    ("distance", r"Similarity|Distance"),
)  # fmt: skip


def public_names(namespace: object) -> list[str]:
    """Return the names that a walk over ``namespace`` must find in the catalog: callables that are not modules."""
    return sorted(n for n in dir(namespace) if not n.startswith("_") and callable(getattr(namespace, n)))


def layer_names() -> list[str]:
    """Return every class name of ``torch.nn``."""
    return [name for name in public_names(nn) if isinstance(getattr(nn, name), type)]


def build() -> dict[str, Any]:
    """Return the catalog of the installed torch, ready for JSON."""
    stubs = Stubs(Path(torch.__file__).parent)
    functions = _functions(stubs)
    methods = {name: _entry(stubs.methods.get(name, []), getattr(torch.Tensor, name)) for name in _methods()}
    return {
        "torch": torch.__version__.split("+")[0],
        "classes": {n: _class_entry(getattr(nn, n)) for n in layer_names() if n not in selection.REFUSED_CLASSES},
        "functions": functions,
        "methods": methods,
        "attributes": sorted(selection.TENSOR_ATTRIBUTES),
        "layer_attributes": sorted(selection.LAYER_ATTRIBUTES),
        "list_methods": sorted(selection.LIST_METHODS),
        "dict_methods": sorted(selection.DICT_METHODS),
        "constants": {"torch": sorted(selection.TORCH_CONSTANTS), "math": sorted(selection.MATH_CONSTANTS)},
        "refused_arguments": sorted(selection.REFUSED_ARGUMENTS),
        "refused": _refused(functions),
        "reserved": _reserved(),
    }


def _functions(stubs: Stubs) -> dict[str, dict[str, Any]]:
    chosen: list[tuple[str, object, frozenset[str] | set[str]]] = [
        ("torch", torch, selection.TORCH_FUNCTIONS),
        ("F", functional, set(public_names(functional)) - selection.REFUSED_FUNCTIONALS),
        ("init", init, {n for n in public_names(init) if n.endswith("_")}),
        ("math", math, selection.MATH_FUNCTIONS),
        ("torch.linalg", torch.linalg, selection.NESTED_FUNCTIONS["torch.linalg"]),
        ("torch.fft", torch.fft, selection.NESTED_FUNCTIONS["torch.fft"]),
        ("torch.special", torch.special, selection.NESTED_FUNCTIONS["torch.special"]),
    ]
    table: dict[str, dict[str, Any]] = {}
    for space, owner, names in chosen:
        found = {name: getattr(owner, name) for name in sorted(names) if hasattr(owner, name)}
        table[space] = {name: _entry(function_signatures(space, name, fn, stubs), fn) for name, fn in found.items()}
    return table


def _methods() -> list[str]:
    return sorted(name for name in selection.TENSOR_METHODS if hasattr(torch.Tensor, name))


def _entry(signatures: list[list[list[Any]]], target: Callable[..., object]) -> dict[str, Any]:
    return {"doc": one_line(target), "signatures": signatures}


def _class_entry(cls: type[nn.Module]) -> dict[str, Any]:
    family = next((name for name, pattern in _FAMILIES if re.search(pattern, cls.__name__)), "activation")
    return {"doc": one_line(cls), "family": family, "parameters": class_parameters(cls)}


def one_line(target: object) -> str:
    """Return the first sentence of a docstring, without markup."""
    lines = (inspect.getdoc(target) or "").strip().splitlines()
    if lines and re.match(r"\w[\w.]*\(.*", lines[0]):
        lines = lines[1:]
    text = " ".join(" ".join(lines).split())
    text = re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "").replace("`", "")
    sentence = re.split(r"(?<=[a-z)])\.(?:\s|$)", text, maxsplit=1)[0]
    return sentence[:160].strip()


def _refused(functions: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    spaces = {"torch": torch, "F": functional, "init": init, "torch.linalg": torch.linalg, "torch.fft": torch.fft,
              "torch.special": torch.special}  # fmt: skip
    refused = {key: [n for n in public_names(owner) if n not in functions[key]] for key, owner in spaces.items()}
    refused["classes"] = [name for name in layer_names() if name in selection.REFUSED_CLASSES]
    refused["methods"] = [n for n in public_names(torch.Tensor) if n not in selection.TENSOR_METHODS]
    return refused


def _reserved() -> list[str]:
    """Names no child may have: attributes of Module, and of the values a forward meets unless they are listed."""
    tensors = selection.TENSOR_METHODS | selection.LAYER_ATTRIBUTES
    listed = tensors | selection.LIST_METHODS | selection.DICT_METHODS | selection.HARMLESS_NAMES
    values = {name for kind in (torch.Tensor, str, list, dict, tuple, int, float, torch.Size) for name in dir(kind)}
    module = set(dir(nn.Module)) | {"training", "forward"}
    return sorted(n for n in (values - listed) | module if not n.startswith("_"))


def main() -> None:
    """Write the catalog file."""
    PATH.write_text(dumps(build()), encoding="utf-8")
    sys.stdout.write(f"{PATH}\n")


def dumps(catalog: dict[str, Any]) -> str:
    """Return the catalog as JSON with one entry a line, so that a new torch reads as a short diff."""
    text = json.dumps(catalog, indent=1, ensure_ascii=False)
    return re.sub(r"\n {4,}|\n {3}(?=[\]}])", " ", text) + "\n"


if __name__ == "__main__":
    main()
