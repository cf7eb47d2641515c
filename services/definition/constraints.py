"""Which numbers a layer takes: ranges by argument name, and what must divide what."""

from __future__ import annotations

from services.definition.catalog import CATALOG
from services.definition.limits import MAX_DIMENSION, MAX_ELEMENTS
from services.definition.problems import Place, Problems
from services.definition.tree import Node

_SIZES = frozenset(
    [
        "in_features",
        "out_features",
        "in1_features",
        "in2_features",
        "in_channels",
        "out_channels",
        "num_features",
        "num_channels",
        "num_embeddings",
        "embedding_dim",
        "input_size",
        "hidden_size",
        "embed_dim",
        "d_model",
        "dim_feedforward",
        "kdim",
        "vdim",
        "kernel_size",
        "num_parameters",
        "n_classes",
        "upscale_factor",
        "downscale_factor",
        "normalized_shape",
        "num_layers",
        "nhead",
        "num_heads",
        "num_groups",
        "groups",
        "stride",
        "dilation",
        "num_encoder_layers",
        "num_decoder_layers",
        "size",
    ]
)
_FROM_ZERO = frozenset({"padding", "output_padding", "proj_size"})
_PROBABILITIES = {"Dropout": "p", "Dropout1d": "p", "Dropout2d": "p", "Dropout3d": "p", "AlphaDropout": "p",
                  "FeatureAlphaDropout": "p"}  # fmt: skip
_DIVIDES = {"Conv": (("groups", "in_channels"), ("groups", "out_channels")), "GroupNorm": (("num_groups",
            "num_channels"),), "MultiheadAttention": (("num_heads", "embed_dim"),), "Transformer": (("nhead",
            "d_model"),), "ChannelShuffle": ()}  # fmt: skip
_CHOICES = {"padding_mode": ("zeros", "reflect", "replicate", "circular"), "nonlinearity": ("tanh", "relu"),
            "activation": ("relu", "gelu"), "reduction": ("none", "mean", "sum")}  # fmt: skip
_POSITIVE = frozenset({"eps", "layer_norm_eps"})


def check_layer(node: Node, problems: Problems) -> None:
    """Note every constructor argument of a torch layer that it cannot have."""
    for name, value in node.arguments.items():
        place = node.places.get(name, node.place)
        _check_kind(node, name, value, place, problems)
        _check_value(node, name, value, place, problems)
    _check_divisors(node, problems)
    _check_choices(node, problems)


def _check_kind(node: Node, name: str, value: object, place: Place, problems: Problems) -> None:
    """Refuse strings and booleans where numbers belong; torch would take some of them and fail much later."""
    entry = CATALOG.classes.get(node.type)
    kind = next((p.type for p in entry.parameters if p.name == name), "any") if entry else "any"
    if kind not in {"int", "ints", "number"} or not isinstance(value, str | bool) or value in {"same", "valid"}:
        return
    code, wanted = ("float_type", "a number") if kind == "number" else ("int_type", "an integer")
    problems.add(code, f"{node.type}: {name} must be {wanted}, got {value!r:.40}.", place)


def _check_value(node: Node, name: str, value: object, place: Place, problems: Problems) -> None:
    numbers = value if isinstance(value, list | tuple) else [value]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if name in _SIZES or name in _FROM_ZERO or name == "output_size":
            _check_size(node, name, number, place, problems)
        elif name == "dropout" or _PROBABILITIES.get(node.type) == name:
            if not 0 <= number <= 1:
                detail = f"{node.type}: {name} is a probability between 0 and 1, got {number}."
                problems.add("out_of_range", detail, place)
        elif name in _POSITIVE and not 0 <= number < 1e6:
            problems.add("out_of_range", f"{node.type}: {name} must not be negative, got {number}.", place)
        elif isinstance(number, int) and abs(number) > MAX_DIMENSION:
            detail = f"{node.type}: {name} is at most {MAX_DIMENSION}, got {number}."
            problems.add("out_of_range", detail, place)


def _check_size(node: Node, name: str, number: float, place: Place, problems: Problems) -> None:
    least = 0 if name in _FROM_ZERO or node.type.startswith("ConstantPad") else 1
    if number > MAX_DIMENSION:
        detail = f"{node.type}: {name} is at most {MAX_DIMENSION}, got {number}."
        problems.add("dimension_too_large", detail, place)
    elif isinstance(number, float):
        if node.type not in {"Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"}:
            problems.add("int_type", f"{node.type}: {name} must be an integer, got {number}.", place)
    elif number < least:
        detail = f"{node.type}: {name} must be at least {least}, got {number}."
        problems.add("out_of_range", detail, place)


def _check_divisors(node: Node, problems: Problems) -> None:
    for prefix, pairs in _DIVIDES.items():
        if not node.type.startswith(prefix):
            continue
        for part, whole in pairs:
            divisor, number = node.arguments.get(part), node.arguments.get(whole)
            if isinstance(divisor, int) and isinstance(number, int) and divisor > 0 and number % divisor:
                detail = f"{node.type}: {whole}={number} is not divisible by {part}={divisor}."
                divisors = [d for d in range(1, min(number, 64) + 1) if number % d == 0]
                nearest = min(divisors, key=lambda d: abs(d - divisor))
                problems.add("invalid_argument", detail, node.place, f"Set {part}={nearest}.")


def _check_choices(node: Node, problems: Problems) -> None:
    for name, allowed in _CHOICES.items():
        value = node.arguments.get(name)
        if isinstance(value, str) and value not in allowed:
            detail = f"{node.type}: {name} is one of {', '.join(allowed)}; got {value[:40]!r}."
            problems.add("invalid_argument", detail, node.places.get(name, node.place))


def check_elements(name: str, arguments: list[object], place: Place, problems: Problems) -> None:
    """Note a tensor whose written size exceeds what one tensor may have: ``zeros(10**6, 10**6)``."""
    if name not in _CREATORS:
        return
    start = {"full": 1, "randint": 10}.get(name, 0)
    sizes = arguments[:1] if name == "full" else arguments[start:]
    if sizes and isinstance(sizes[0], list | tuple):
        sizes = list(sizes[0])
    count = 1
    for size in sizes:
        if isinstance(size, int) and not isinstance(size, bool):
            if size > MAX_DIMENSION:
                problems.add("dimension_too_large", f"{name}: a size is at most {MAX_DIMENSION}, got {size}.", place)
            if size < 0:
                problems.add("out_of_range", f"{name}: a size is not negative, got {size}.", place)
            count *= max(size, 1)
    if name == "eye":
        count = count * count if len(sizes) == 1 else count
    if count > MAX_ELEMENTS:
        detail = f"{name}: a tensor of {count} elements; at most {MAX_ELEMENTS} are allowed."
        problems.add("model_too_large", detail, place)


_CREATORS = frozenset({"zeros", "ones", "rand", "randn", "empty", "full", "eye", "arange", "randperm", "linspace"})
_ONE_NUMBER = {"arange", "randperm", "linspace"}


def argument_table(name: str, positional: list[object], keywords: dict[str, object]) -> dict[str, object]:
    """Bind the values of a call to the parameters of a torch class; defaults are filled in where they are plain."""
    table: dict[str, object] = {}
    parameters = CATALOG.classes[name].parameters
    for parameter, value in zip([p for p in parameters if p.kind in "pa"], positional, strict=False):
        table[parameter.name] = value
    table.update(keywords)
    for parameter in parameters:
        if not parameter.required and parameter.kind != "*":
            table.setdefault(parameter.name, parameter.default)
    return table
