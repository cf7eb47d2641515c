"""Weights to begin with are matched by name and shape, with a report of what found no counterpart."""

import pytest
from torch import nn

from services.errors import InvalidRequest
from services.modules.tensors import tensor_rows
from services.training.start import InitFrom, match_weights

TENSORS = tensor_rows(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)))
OLD = {"0.weight": [8, 4], "0.bias": [8], "1.weight": [5, 8], "1.bias": [5], "2.bias": [1]}


def match(weights=OLD, **options):
    return match_weights(InitFrom.model_validate({"checkpoint": "ckpt_1", **options}), TENSORS, weights)


def refusal(*arguments, **options):
    with pytest.raises(InvalidRequest) as caught:
        match(*arguments, **options)
    return [(problem.code, problem.pointer) for problem in caught.value.problems]


def test_what_agrees_is_loaded_and_the_rest_reported():
    start = match()
    assert start["tensors"] == {"0.weight": "0.weight", "0.bias": "0.bias"}
    assert start["report"] == {
        "loaded": ["0.weight", "0.bias"],
        "missing": [],
        "mismatched": [
            {"name": "1.weight", "model": [2, 8], "checkpoint": [5, 8]},
            {"name": "1.bias", "model": [2], "checkpoint": [5]},
        ],
        "unused": ["2.bias"],
    }


def test_names_may_be_chosen_and_mapped_and_the_longest_prefix_counts():
    weights = {"encoder.weight": [8, 4], "encoder.bias": [8], "encoder.head.bias": [2]}
    start = match(weights, rename={"encoder.": "0.", "encoder.head.": "1."}, match=["*.bias"])
    assert start["tensors"] == {"0.bias": "encoder.bias", "1.bias": "encoder.head.bias"}
    assert start["report"]["unused"] == ["encoder.weight"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"match": ["0.*", "3.*"]}, ("unknown_name", "/init_from/match/1")),
        ({"rename": {"encoder.": "0."}}, ("unknown_name", "/init_from/rename")),
        ({"rename": {"1.bias": "0.bias"}}, ("conflict", "/init_from/rename")),
        ({"match": ["1.*"]}, ("nothing_matches", "/init_from")),
        ({"strict": True}, ("weights_mismatch", "/init_from/strict")),
    ],
)
def test_what_cannot_be_meant_is_refused(options, expected):
    assert refusal(**options) == [expected]


def test_a_strict_match_of_all_passes():
    weights = {row["name"]: row["shape"] for row in TENSORS}
    assert match(weights, strict=True)["report"]["missing"] == []


def test_the_refusal_names_both_shapes():
    with pytest.raises(InvalidRequest) as caught:
        match(match=["1.*"])
    assert "1.weight [2, 8] ≠ [5, 8]" in caught.value.problems[0].detail
