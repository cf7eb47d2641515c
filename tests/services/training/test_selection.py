"""Names in a plan are those of the model's parameters, and an optimizer gets what it can train."""

import pytest
from torch import nn

from services.errors import InvalidRequest
from services.modules.tensors import tensor_rows
from services.training.selection import check_selection

MODEL = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
SPARSE = nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Linear(4, 2))


def refusal(model=MODEL, *, optimizer="AdamW", groups=(), freeze=(), clip=None, on_non_finite="fail"):
    sections = {
        "optimizer": {"type": optimizer, "groups": [{"match": pattern} for pattern in groups]},
        "freeze": list(freeze),
        "gradient_clip": clip,
        "on_non_finite": on_non_finite,
    }
    try:
        check_selection(sections, tensor_rows(model))
    except InvalidRequest as error:
        return [(problem.code, problem.pointer) for problem in error.problems]
    return []


def test_what_fits_passes():
    assert refusal(groups=["*.bias", "0.*"], freeze=["2.*"]) == []
    assert refusal(optimizer="Muon", freeze=["*.bias", "1.*"]) == []
    assert refusal(SPARSE, optimizer="SparseAdam", freeze=["1.*"]) == []
    assert refusal(SPARSE, optimizer="SGD") == []


@pytest.mark.parametrize(
    ("options", "code", "pointer"),
    [
        ({"freeze": ["0.*", "backbone.*"]}, "unknown_name", "/training/freeze/1"),
        ({"freeze": ["1.running_mean"]}, "unknown_name", "/training/freeze/0"),
        ({"freeze": ["*"]}, "no_trainable_parameters", "/training/freeze"),
        ({"groups": ["*.bias", "*.biass"]}, "unknown_name", "/training/optimizer/groups/1/match"),
        ({"groups": ["*.bias", "0.bias"]}, "conflict", "/training/optimizer/groups/1/match"),
        ({"groups": ["0.*"], "freeze": ["0.*"]}, "conflict", "/training/optimizer/groups/0/match"),
        ({"optimizer": "Muon"}, "optimizer_mismatch", "/training/optimizer/type"),
        ({"optimizer": "SparseAdam"}, "optimizer_mismatch", "/training/optimizer/type"),
        ({"model": SPARSE, "optimizer": "Adam"}, "optimizer_mismatch", "/training/optimizer/type"),
        ({"model": SPARSE, "optimizer": "SGD", "clip": {"norm": 1}}, "conflict", "/training/gradient_clip"),
        ({"model": SPARSE, "optimizer": "SGD", "on_non_finite": "skip"}, "conflict", "/training/on_non_finite"),
    ],
)
def test_what_does_not_fit_is_refused(options, code, pointer):
    assert refusal(**options) == [(code, pointer)]


def test_the_nearest_names_are_offered_and_the_parameters_named():
    with pytest.raises(InvalidRequest) as caught:
        check_selection(
            {
                "optimizer": {"type": "Muon", "groups": []},
                "freeze": ["0.weigth"],
                "gradient_clip": None,
                "on_non_finite": "",
            },
            tensor_rows(MODEL),
        )
    unknown, muon = caught.value.problems
    assert "'0.weight'" in unknown.hint
    assert "0.bias [8], 1.weight [8], 1.bias [8], 2.bias [2]" in muon.detail


def test_a_tied_tensor_counts_once_under_its_first_name():
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    assert {row["name"]: row["same_as"] for row in tensor_rows(tied)} == {"0.weight": None, "1.weight": "0.weight"}
    assert refusal(tied, freeze=["1.*"]) == [("unknown_name", "/training/freeze/0")]
