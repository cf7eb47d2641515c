"""Every part of a model can be replaced by an equal one, whatever loop or macro made it, and nothing else changes."""

from __future__ import annotations

import copy
import random

import pytest
import torch

from services.definition import check
from services.definition.edit import edit
from services.definition.written import Unwritable, written
from services.errors import InvalidRequest
from services.modules import build
from tests.conformance import article, generative, recursive, sequence, tabular, users, vision  # noqa: F401 - they register
from tests.conformance.case import CASES
from tests.conformance.test_conformance import assert_equal, assert_same_state, inputs_of, run

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
CHOSEN = (
    "article own Sequential", "article ModuleList", "article ModuleDict", "DCGAN generator", "recursive U-Net",
    "recursive macro", "soft decision tree", "GPTModel", "WaveNet", "early exit", "mixture of experts", "ResNet18",
    "DenseNet", "MobileNetV2", "UNet", "Swin", "Inception", "MLP-Mixer",
)  # fmt: skip
SOME = [case for case in CASES if case.name in CHOSEN]
AT_ONCE = 3
INSIDE_TORCH = ("TransformerEncoder", "TransformerDecoder", "Transformer", "MultiheadAttention")


def parts(definition):
    """Return (path, an equal module position) of everything that can be written."""
    found = []
    for path, node in definition.tree.walk():
        try:
            found.append((path, written(node)))
        except Unwritable:
            continue
    return found


@pytest.mark.parametrize("case", SOME, ids=str)
def test_equal_parts_change_nothing(case):
    definition = check(case.document)
    torch.manual_seed(3)
    before = build(definition)
    inputs = inputs_of(case, 3)
    expected = run(copy.deepcopy(before), inputs)
    chosen = random.Random(1).sample(parts(definition)[1:], k=min(AT_ONCE, len(parts(definition)) - 1))
    operations = [{"op": "replace", "path": path, "module": module} for path, module in chosen]
    edited = edit(definition, operations)
    assert not edited.new and not edited.dropped
    torch.manual_seed(3)
    after = build(edited.definition)
    assert_same_state(after, before)
    for mine, other in zip(run(after, inputs), expected, strict=True):
        assert_equal(mine, other)


def test_the_cases_are_there():
    assert {case.name for case in SOME} == set(CHOSEN)


@pytest.mark.parametrize("name", ["recursive U-Net", "DCGAN generator", "early exit", "article ModuleList"])
def test_every_path_can_be_reached(name):
    definition = check(next(case.document for case in CASES if case.name == name))
    for path, module in parts(definition):
        assert edit(definition, [{"op": "replace", "path": path, "module": module}]).new == ()


def test_what_torch_makes_itself_is_replaced_as_a_whole():
    definition = check("Sequential(TransformerEncoder(TransformerEncoderLayer(8, 2), 2), Linear(8, 2))")
    with pytest.raises(InvalidRequest, match="makes its own parts"):
        edit(definition, [{"op": "remove", "path": "0.layers.1"}])
