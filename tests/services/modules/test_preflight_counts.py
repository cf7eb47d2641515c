"""What preflight counts without data is what a real forward does: operations, calls, bytes kept for the backward."""

from __future__ import annotations

import pytest

from services.definition import check
from services.modules import build, preflight
from services.modules.record import Recorder
from tests.conformance import recursive, sequence, tabular, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
NAMES = ("ResNet18", "MobileNetV2", "UNet", "DenseNet", "ViT", "GPTModel", "WaveNet", "recursive U-Net", "TextCNN")
FEW = [case for case in CASES if case.name in NAMES]


@pytest.mark.parametrize("case", FEW, ids=str)
def test_the_counts_are_those_of_a_real_forward(case):
    definition = check(case.document)
    inputs = case.inputs(2)
    model = build(definition)
    with Recorder(model) as real:
        model(*inputs)
    given = {f"x{i}": {"dtype": str(x.dtype)[6:], "shape": ["B", *x.shape[1:]]} for i, x in enumerate(inputs)}
    report = preflight(definition, given)
    assert report["operations_per_sample"] == real.operations // 2
    assert [row["path"] for row in report["layers"]] == [path for path, *_ in real.calls]
    assert report["memory_bytes"]["activations_per_sample"] == pytest.approx(real.saved_bytes / 2, rel=0.05)


def test_the_cases_are_there():
    assert {case.name for case in FEW} == set(NAMES)
