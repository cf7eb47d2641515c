"""Reads the constructor arguments of torch's own layers back from their attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from services.definition import check
from services.definition.catalog import CATALOG, Parameter
from services.errors import InvalidRequest
from services.modules.build import build

Position = Callable[[nn.Module, str], Any]


class Undescribable(Exception):
    """This module has no definition; the text says which and why."""


def constructor(module: nn.Module, path: str, position: Position) -> dict[str, Any]:
    """Return ``{"type": …, arguments}`` of a layer, and make sure that it builds an equal one.

    Raises:
        Undescribable: an argument cannot be read back, or the layer was changed after it was made.
    """
    kind = type(module).__name__
    trainable = {tensor.requires_grad for tensor in module.parameters()}
    found: dict[str, Any] = {}
    for short in (True, False):  # some layers print (1, 1) where others print 1
        found = {"type": kind, **_arguments(module, path, position, short=short)}
        if trainable == {False}:
            found["trainable"] = False
        if _is_equal(module, found, path):
            break
    else:
        raise Undescribable(f"{kind} {path!r} was changed after it was made: {module!r:.100}.")
    if trainable == {True, False} and not list(module.children()):
        raise Undescribable(f"{kind} {path!r} trains some of its tensors and not others.")
    return found


def _arguments(module: nn.Module, path: str, position: Position, *, short: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for parameter in CATALOG.classes[type(module).__name__].parameters:
        if parameter.kind == "*":
            continue
        value = _argument(module, parameter, path, position)
        if short and parameter.type == "ints" and parameter.name not in _SHAPES:
            value = _shortened(value)
        if parameter.required or value != parameter.default:
            found[parameter.name] = value
    return found


def _shortened(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return value[0] if isinstance(value, list) and len(set(map(str, value))) == 1 else value


def _argument(module: nn.Module, parameter: Parameter, path: str, position: Position) -> Any:  # noqa: ANN401
    name = parameter.name
    if isinstance(module, nn.Transformer) and name in _TRANSFORMER:
        return _TRANSFORMER[name](module)
    if parameter.name in _SPECIAL and hasattr(module, _SPECIAL[name][0]):
        return _SPECIAL[name][1](module)
    if name in {"encoder_layer", "decoder_layer"} and isinstance(module.layers, nn.ModuleList):
        return position(module.layers[0], f"{path}.layers.0")
    if not hasattr(module, name):
        if parameter.required:
            raise Undescribable(f"{type(module).__name__} {path!r} does not tell its argument {name!r}.")
        return parameter.default
    value = getattr(module, name)
    if isinstance(value, nn.Module):
        return position(value, f"{path}.{name}")
    return _plain(value, parameter, module, path)


def _plain(value: Any, parameter: Parameter, module: nn.Module, path: str) -> Any:  # noqa: ANN401
    if parameter.type == "bool" and (value is None or isinstance(value, torch.Tensor)):
        return value is not None
    if isinstance(value, tuple | list):
        return [_plain(item, parameter, module, path) for item in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if callable(value) and parameter.type == "str":
        return str(getattr(value, "__name__", value))
    kind = type(module).__name__
    raise Undescribable(f"{kind} {path!r}: the argument {parameter.name!r} is {value!r:.60}, which is no plain value.")


_SHAPES = {"normalized_shape", "unflattened_size"}

_TRANSFORMER: dict[str, Callable[[Any], Any]] = {
    "num_encoder_layers": lambda m: len(m.encoder.layers),
    "num_decoder_layers": lambda m: len(m.decoder.layers),
    "dim_feedforward": lambda m: m.encoder.layers[0].linear1.out_features,
    "dropout": lambda m: m.encoder.layers[0].dropout1.p,
    "activation": lambda m: m.encoder.layers[0].activation.__name__,
    "layer_norm_eps": lambda m: m.encoder.norm.eps,
    "norm_first": lambda m: m.encoder.layers[0].norm_first,
    "bias": lambda m: m.encoder.layers[0].linear1.bias is not None,
}
_SPECIAL: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "d_model": ("self_attn", lambda m: m.self_attn.embed_dim),
    "nhead": ("self_attn", lambda m: m.self_attn.num_heads),
    "dim_feedforward": ("linear1", lambda m: m.linear1.out_features),
    "dropout": ("dropout1", lambda m: m.dropout1.p),
    "layer_norm_eps": ("norm1", lambda m: m.norm1.eps),
    "batch_first": ("self_attn", lambda m: m.self_attn.batch_first),
    "bias": ("linear1", lambda m: m.linear1.bias is not None),
    "add_bias_kv": ("bias_k", lambda m: m.bias_k is not None),
}


def _is_equal(module: nn.Module, found: dict[str, Any], path: str) -> bool:
    try:
        with torch.device("meta"):
            twin = build(check(found))
    except InvalidRequest as error:
        raise Undescribable(f"{type(module).__name__} {path!r}: {error.detail}") from None
    return repr(twin) == repr(module)
