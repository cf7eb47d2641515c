"""The schema lists every layer with its arguments."""

from __future__ import annotations

import json

import jsonschema
import pytest

from services.definition.catalog import CATALOG
from services.definition.json_schema import model_schema
from services.modules.describe import describe
from tests.conformance import article, generative, recursive, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES

VALIDATOR = jsonschema.Draft202012Validator(model_schema())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_conformance_document_fits_the_schema(case):
    assert VALIDATOR.is_valid(json.loads(json.dumps(case.document)))


@pytest.mark.parametrize("case", CASES[::6], ids=str)
def test_what_describe_writes_fits_the_schema(case):
    assert VALIDATOR.is_valid(json.loads(json.dumps(describe(case.original()).document)))


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        ("Linear(4, 4)", True),
        ({"type": "Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": [3, 3], "padding": "same"}, True),
        ({"type": "AdaptiveAvgPool2d", "output_size": [None, 7]}, True),
        ({"type": "ParameterList", "parameters": ["randn(3)", {"parameter": "zeros(3)", "trainable": False}]}, True),
        ({"type": "Linear", "in_features": 3}, False),
        ({"type": "Linear", "in_features": "x", "out_features": 3}, False),
        ({"type": "Linear", "in_features": 3, "out_features": 3, "foo": 1}, False),
        ({"type": "Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 3, "stride": "same"}, False),
        ({"type": "Linaer"}, False),
        ({"model": {"type": "Sequential", "layers": [{"type": "Conv2d", "in_channels": 1}]}}, False),
        ({"model": "N()", "modules": {"N": {"forward": [{"while": "x", "do": []}]}}}, False),
        ({"model": "N()", "modules": {"N": {"forward": [{"no_grad": ["x = 2 * x"]}, "return x"]}}}, True),
        ({"model": {"type": "Own", "n": 3}, "modules": {"Own": {"parameters": ["n"], "forward": ["return x"]}}}, True),
    ],
)  # fmt: skip
def test_an_editor_sees_what_the_service_would_refuse(document, valid):
    assert VALIDATOR.is_valid(document) == valid


def test_every_class_of_the_catalog_is_a_layer_with_its_arguments():
    layers = {layer["title"]: layer for layer in model_schema()["$defs"]["torch_layer"]["anyOf"]}
    assert set(CATALOG.classes) <= set(layers)
    linear = layers["Linear"]
    assert linear["required"] == ["type", "in_features", "out_features"]
    assert linear["properties"]["bias"] == {"type": "boolean", "default": True}
    assert linear["additionalProperties"] is False


def test_the_schema_is_json_and_its_references_resolve():
    schema = model_schema()
    text = json.dumps(schema)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]}:
        assert reference in schema["$defs"]
