"""Builds ``services/definition/catalog/catalog.json`` from the installed torch; run it as a module."""

from __future__ import annotations

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
from services.modules.catalog_docs import one_line
from services.modules.catalog_signatures import Stubs, class_parameters, function_signatures

PATH = Path(__file__).parents[1] / "definition" / "catalog" / "catalog.json"

# By the file of torch.nn.modules that defines the class: a class in a new file has to be looked at.
_FAMILIES = {
    "activation": "activation", "adaptive": "loss", "batchnorm": "normalisation", "channelshuffle": "shape",
    "container": "container", "conv": "convolution", "distance": "distance", "dropout": "dropout", "flatten": "shape",
    "fold": "convolution", "instancenorm": "normalisation", "linear": "linear", "loss": "loss",
    "normalization": "normalisation", "padding": "padding", "pixelshuffle": "shape", "pooling": "pooling",
    "rnn": "recurrent", "sparse": "embedding", "transformer": "transformer", "upsampling": "shape",
}  # fmt: skip
_OWN_DOCS = {
    "CrossMapLRN2d": "Applies local response normalization across channels, over an input of several input planes"
}
"""Of classes without a docstring of their own, which would get their parent's."""
_OTHER_FAMILIES = {"MultiheadAttention": "transformer"}


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
        ("nn.utils.rnn", nn.utils.rnn, selection.NESTED_FUNCTIONS["nn.utils.rnn"]),
        ("nn.Transformer", nn.Transformer, selection.NESTED_FUNCTIONS["nn.Transformer"]),
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
    family = _OTHER_FAMILIES.get(cls.__name__) or _FAMILIES[cls.__module__.rpartition(".")[2]]
    doc = one_line(cls) if "__doc__" in vars(cls) and cls.__doc__ else _OWN_DOCS[cls.__name__]
    return {"doc": doc, "family": family, "parameters": class_parameters(cls)}


def _refused(functions: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    spaces = {"torch": torch, "F": functional, "init": init, "torch.linalg": torch.linalg, "torch.fft": torch.fft,
              "torch.special": torch.special, "nn.utils.rnn": nn.utils.rnn}  # fmt: skip
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
