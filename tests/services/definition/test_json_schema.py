"""The schema lists every layer with its arguments."""

from __future__ import annotations

import json

from services.definition.catalog import CATALOG
from services.definition.json_schema import model_schema


def test_every_class_of_the_catalog_is_a_layer_with_its_arguments():
    layers = {layer["title"]: layer for layer in model_schema()["$defs"]["layer"]["anyOf"]}
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
