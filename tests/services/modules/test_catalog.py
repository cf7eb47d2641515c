"""The catalog knows every name of the installed torch: admitted or refused, never overlooked."""

from __future__ import annotations

import inspect
import json

import pytest
import torch
from torch import nn
from torch.nn import functional, init

from services.definition import check
from services.definition.catalog import CATALOG
from services.definition.construction import DRAWS
from services.modules import build, catalog_build, catalog_selection

SPACES = {
    "torch": torch, "F": functional, "init": init, "torch.linalg": torch.linalg, "torch.fft": torch.fft,
    "torch.special": torch.special, "nn.utils.rnn": nn.utils.rnn,
}  # fmt: skip
same_version = pytest.mark.skipif(
    not torch.__version__.startswith(CATALOG.torch_version.rsplit(".", 1)[0]), reason="the catalog is of another torch"
)


@pytest.mark.parametrize("space", SPACES)
def test_every_function_is_listed(space):
    listed = CATALOG.functions[space].keys() | CATALOG.refused[space]
    unlisted = [name for name in catalog_build.public_names(SPACES[space]) if name not in listed]
    assert not unlisted, f"new in torch, list them in catalog_selection.toml and rebuild: {unlisted}"


def test_every_class_and_tensor_method_is_listed():
    classes = [n for n in catalog_build.layer_names() if n not in CATALOG.classes.keys() | CATALOG.refused["classes"]]
    methods = [
        name
        for name in catalog_build.public_names(torch.Tensor)
        if name not in CATALOG.methods.keys() | CATALOG.refused["methods"]
    ]
    assert not classes + methods, "new in torch, list them in catalog_selection.toml and rebuild"


@same_version
def test_the_file_is_what_the_generator_writes():
    assert catalog_build.dumps(catalog_build.build()) == catalog_build.PATH.read_text(encoding="utf-8")


def test_every_name_of_the_selection_exists():
    for name in catalog_selection.TORCH_FUNCTIONS:
        assert hasattr(torch, name), name
    assert len(CATALOG.classes) >= 130


def test_nothing_that_runs_code_or_touches_files_is_admitted():
    evil = {"load", "save", "from_file", "compile", "vmap", "set_default_device", "set_printoptions", "manual_seed"}
    assert not evil & CATALOG.functions["torch"].keys()
    assert not {"apply_", "map_", "register_hook", "backward", "numpy", "data_ptr", "set_"} & CATALOG.methods.keys()


def test_every_entry_has_a_doc_and_a_schema():
    for entry in [*CATALOG.classes.values(), *CATALOG.methods.values(), *CATALOG.functions["F"].values()]:
        assert json.dumps(entry.json_schema())
        assert entry.name
    assert all(entry.doc for entry in CATALOG.classes.values())


def test_constructor_signatures_are_those_of_torch():
    for name, entry in CATALOG.classes.items():
        real = inspect.signature(getattr(nn, name)).parameters
        if any(parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in real.values()):
            continue
        assert {parameter.name for parameter in entry.parameters if parameter.kind != "*"} <= real.keys()
        refused = CATALOG.refused_arguments
        missing = {one for one in real if one not in refused and not one.startswith("_")} - _callables(real)
        assert missing == {parameter.name for parameter in entry.parameters if parameter.kind != "*"}, name
        for parameter in entry.parameters:
            default = real[parameter.name].default
            assert parameter.required == (default is inspect.Parameter.empty), (name, parameter.name)
            if not parameter.required and not callable(default):
                plain = list(default) if isinstance(default, tuple) else default
                assert parameter.json_schema()["default"] == plain, (name, parameter.name)


def _callables(parameters):
    """Return arguments that only take modules or functions as code."""
    return {name for name in parameters if name in {"custom_encoder", "custom_decoder", "distance_function"}}


FAMILIES = {
    "MaxUnpool2d": "pooling", "PixelUnshuffle": "shape", "Unfold": "convolution", "Fold": "convolution",
    "ReLU": "activation", "Softmax2d": "activation", "MultiheadAttention": "transformer", "EmbeddingBag": "embedding",
    "CrossMapLRN2d": "normalisation", "UpsamplingNearest2d": "shape", "ConstantPad1d": "padding", "GRU": "recurrent",
}  # fmt: skip


def test_families_are_those_of_torch():
    assert {name: CATALOG.classes[name].family for name in FAMILIES} == FAMILIES


def test_one_line_docs_read_as_text():
    entries = [*CATALOG.classes.values(), *CATALOG.methods.values()]
    entries += [entry for space in CATALOG.functions.values() for entry in space.values()]
    docs = {entry.name: entry.doc for entry in entries}
    assert not [name for name, doc in docs.items() if "\\" in doc or ".. " in doc or "`" in doc or len(doc) > 162]
    assert not [name for name, doc in docs.items() if doc.startswith(("of ", "Tensor)", "LongTensor)", "#"))]
    assert not [name for name, doc in docs.items() if "Base class for all" in doc]
    assert docs["LogSoftmax"] == "Applies the log(Softmax(x)) function to an n-dimensional input Tensor"


_PLAIN = {"int": 4, "ints": 2, "number": 1.0, "any": 2}
_INNER = {"TransformerEncoder": "TransformerEncoderLayer(4, 2)", "TransformerDecoder": "TransformerDecoderLayer(4, 2)"}
_CHOSEN = {"AdaptiveLogSoftmaxWithLoss": {"n_classes": 10, "cutoffs": [4]}, "FractionalMaxPool2d": {"output_size": 2},
           "FractionalMaxPool3d": {"output_size": 2}, "Unflatten": {"unflattened_size": [2, 2]}}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.classes.items() if entry.family != "container"])
def test_every_layer_builds_from_its_required_arguments(name):
    document = {"type": name, **_CHOSEN.get(name, {})}
    for parameter in CATALOG.classes[name].parameters:
        if parameter.required and parameter.kind != "*" and parameter.name not in document:
            document[parameter.name] = _INNER[name] if parameter.type == "module" else _PLAIN[parameter.type]
    definition = check(document)
    with torch.device("meta"):
        assert type(build(definition)) is getattr(nn, name)
    before = torch.get_rng_state()
    build(definition)
    # Edits count on knowing which layers draw their initial weights.
    assert bool(torch.equal(before, torch.get_rng_state())) != bool(DRAWS.match(name))
