"""What the functions, methods and layers of torch return, where it is not one tensor."""

from __future__ import annotations

from services.definition.catalog import CATALOG
from services.definition.inference import kinds
from services.definition.inference.kinds import (
    A_NUMBER,
    A_TENSOR,
    A_TRUTH,
    ANY,
    DATA,
    HUGE,
    MAX_DIMENSIONS,
    NOTHING,
    SIZE,
    Kind,
    integer,
    join,
    places,
    row,
)

_PAIR, _TRIPLE = places([A_TENSOR] * 2), places([A_TENSOR] * 3)
_PACKED = places([A_TENSOR] * 4)
_TENSOR_OR_PAIR = join(A_TENSOR, _PAIR)
_PIECES = row(A_TENSOR, HUGE)
_SIZES = join(row(integer(SIZE), MAX_DIMENSIONS), integer(SIZE))

_TABLES: tuple[tuple[Kind, str], ...] = (
    (_PAIR, "aminmax cummax cummin kthvalue mode qr slogdet sort std_mean topk triangular_solve var_mean eigh"),
    (_TENSOR_OR_PAIR, "max median min nanmedian multi_head_attention_forward"),
    (_TRIPLE, "svd"),
    (join(A_TENSOR, join(_PAIR, _TRIPLE)), "unique unique_consecutive"),
    (A_TRUTH, "allclose equal is_complex is_contiguous is_floating_point is_tensor"),
    (integer(SIZE), "numel nelement element_size"),
    (integer(MAX_DIMENSIONS), "dim ndimension"),
    (_SIZES, "size stride"),
    (join(A_NUMBER, join(A_TRUTH, integer(DATA))), "item"),
    (row(A_TENSOR, MAX_DIMENSIONS), "broadcast_tensors meshgrid"),
    (_PIECES, "chunk dsplit hsplit split split_with_sizes tensor_split unbind vsplit"),
    (join(A_TENSOR, row(A_TENSOR, MAX_DIMENSIONS)), "atleast_1d atleast_2d atleast_3d nonzero where"),
    (ANY, "tolist"),
    (_PACKED, "pack_padded_sequence"),
    (_PAIR, "pad_packed_sequence"),
)  # fmt: skip
_RESULTS = {name: kind for kind, names in _TABLES for name in names.split()}
PIECES = frozenset(name for name, kind in _RESULTS.items() if kind is _PIECES)
"""They cut a tensor into any number of pieces."""

_LAYERS: dict[str, Kind] = {
    "RNN": places([A_TENSOR, A_TENSOR]),
    "GRU": places([A_TENSOR, A_TENSOR]),
    "LSTM": places([A_TENSOR, _PAIR]),
    "LSTMCell": _PAIR,
    "MultiheadAttention": places([A_TENSOR, join(A_TENSOR, A_TRUTH)]),
    "AdaptiveLogSoftmaxWithLoss": _PAIR,
}
_TENSOR_PARTS = ("weight", "bias", "running_", "in_proj_", "num_batches")
_LAYER_PARTS = {"linear1": "Linear", "linear2": "Linear", "out_proj": "Linear", "norm1": "LayerNorm",
                "norm2": "LayerNorm", "norm3": "LayerNorm", "self_attn": "MultiheadAttention",
                "multihead_attn": "MultiheadAttention", "encoder": "TransformerEncoder",
                "decoder": "TransformerDecoder"}  # fmt: skip
_CONSTANT = Kind(
    kinds.INT | kinds.NUMBER | kinds.OTHER | kinds.TUPLE, SIZE, MAX_DIMENSIONS, join(integer(SIZE), A_NUMBER)
)
"""A constructor argument that a layer of torch keeps."""


FIELDS = frozenset({"values", "indices", "eigenvalues", "eigenvectors", "logabsdet"})
"""Fields of the named tuples that some functions give."""


def returned(name: str) -> Kind:
    """Return the kind of what a function or a tensor method of the catalog gives."""
    if name.startswith("is") and name not in {"isin"}:
        return join(A_TRUTH, A_TENSOR)
    if name.endswith("_with_indices") or "max_pool" in name:
        return _TENSOR_OR_PAIR
    return _RESULTS.get(name, A_TENSOR)


def of_layer(name: str, argument: Kind) -> Kind:
    """Return the kind of what a layer of torch gives; ``Identity`` gives what it gets."""
    if name == "Identity":
        return argument
    return _TENSOR_OR_PAIR if name.endswith("+indices") else _LAYERS.get(name, A_TENSOR)


def attribute_of_layer(name: str) -> Kind:
    """Return the kind of ``layer.name`` for a layer of torch."""
    if name.startswith(_TENSOR_PARTS):
        return Kind(kinds.TENSOR | kinds.OTHER | kinds.OWN)
    if name in _LAYER_PARTS:
        return Kind(kinds.MODULE, modules=frozenset([_LAYER_PARTS[name]]))
    return _CONSTANT if name in CATALOG.layer_attributes else ANY


def attribute_of_tensor(name: str) -> Kind:
    """Return the kind of ``tensor.name``."""
    if name == "shape":
        return row(integer(SIZE), MAX_DIMENSIONS)
    if name in {"ndim", "itemsize"}:
        return integer(MAX_DIMENSIONS)
    if name in {"device", "dtype", "is_cuda", "requires_grad"}:
        return A_TRUTH
    return A_TENSOR if name in CATALOG.attributes else NOTHING


def of_math(name: str, arguments: list[Kind]) -> Kind:
    """Return the kind of what a function of ``math`` gives; a float is below 2^1024, and so is its floor."""
    highs = [argument.high for argument in arguments] or [HUGE]
    if name in {"ceil", "floor", "trunc", "gcd", "isqrt"}:
        return integer(max(SIZE, *highs))
    if name in {"lcm", "prod"}:
        product = 1
        for high in highs:
            product = min(product * max(high, 1), HUGE)
        return join(integer(product if name == "lcm" else SIZE), A_NUMBER)
    return A_TRUTH if name.startswith("is") else A_NUMBER
