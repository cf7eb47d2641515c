"""Losses and terms give what torch gives when it is called by hand, and refuse what torch would broadcast."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest
from services.modules.objective import LossFunction
from services.training.losses import LOSSES
from services.training.objective import default_inputs, names_of

torch.manual_seed(0)
ROWS = 6
LOSS = "/training/loss"
LIST = {"a": "[y]"}
REAL, SIGNS = torch.rand(ROWS, 3), torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
LABELS = torch.randint(0, 3, (ROWS,))


def rows(*shape):
    return torch.rand(ROWS, *shape, requires_grad=True)


LENGTHS = {"input_lengths": torch.full((ROWS,), 8), "target_lengths": torch.full((ROWS,), 2)}
# What each loss is called with: outputs of a model, the target, more columns.
CALLS = {
    "CrossEntropyLoss": (rows(3), LABELS),
    "NLLLoss": (rows(3), LABELS),
    "MultiMarginLoss": (rows(3), LABELS),
    "MultiLabelMarginLoss": (rows(3), torch.tensor([[0, -1, -1]] * ROWS)),
    "MultiLabelSoftMarginLoss": (rows(3), (REAL > 0.5).float()),
    "HingeEmbeddingLoss": (rows(), SIGNS),
    "SoftMarginLoss": (rows(), SIGNS),
    "MarginRankingLoss": ((rows(), rows()), SIGNS),
    "CosineEmbeddingLoss": ((rows(4), rows(4)), SIGNS),
    "TripletMarginLoss": ((rows(4), rows(4), rows(4)), None),
    "GaussianNLLLoss": ((rows(3), rows(3)), REAL),
    "CTCLoss": (torch.rand(8, ROWS, 5).log_softmax(2).requires_grad_(), torch.randint(1, 5, (ROWS, 2)), LENGTHS),
}
for name in set(LOSSES) - CALLS.keys():
    CALLS[name] = (rows(3), REAL)


def loss_function(section, outputs=(), columns=()):
    names = {name: name for name in columns}
    return LossFunction(section, Vocabulary(tuple(outputs), names, open=not outputs), "cpu")


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_loss_gives_by_default_what_torch_gives_by_hand(name):
    outputs, target, more = (*CALLS[name], {})[:3]
    columns = {**more, **({} if target is None else {"target": target})}
    names = names_of((), [], {}, None)
    names.columns |= {column: column for column in columns}
    inputs = default_inputs(LOSSES[name].forward, names)
    ours = loss_function({"type": name, "inputs": inputs}, columns=columns)
    positions = {"GaussianNLLLoss": (0, "target", 1)}.get(name)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    by_hand = [parts[p] if isinstance(p, int) else columns[p] for p in positions] if positions else None
    expected = getattr(nn, name)()(*(by_hand or [*parts, *([] if target is None else [target]), *more.values()]))
    total, terms = ours.first(outputs, columns)
    assert torch.equal(total, expected)
    assert torch.equal(ours(outputs, columns)[0], expected)
    assert terms == ()


TERMS = {
    "type": "terms",
    "terms": {"kld": "-0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())", "bce": "F.mse_loss(recon, x)"},
    "total": "bce + kld",
}


def test_terms_and_total_are_those_of_the_same_lines_in_python():
    recon, mu, logvar, x = rows(4), rows(2), rows(2), torch.rand(ROWS, 4)
    function = loss_function(TERMS, ("recon", "mu", "logvar"), ["x"])
    total, (kld, bce) = function.first((recon, mu, logvar), {"x": x})
    assert function.terms == ("kld", "bce")
    assert torch.equal(kld, -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()))
    assert torch.equal(bce, F.mse_loss(recon, x))
    assert torch.equal(total, bce + kld)
    assert torch.equal(function((recon, mu, logvar), {"x": x})[0], total)


def test_the_total_is_the_sum_of_the_terms_and_a_term_of_many_numbers_is_shown_as_their_mean():
    section = {"type": "terms", "terms": {"each": "(output - x) ** 2", "whole": "each.mean()", "half": "0.5"}}
    section["total"] = "whole * half"
    function = loss_function(section, columns=["x"])
    output, x = rows(), torch.rand(ROWS)
    total, (each, _, half) = function.first(output, {"x": x})
    assert each.item() == pytest.approx(((output - x) ** 2).mean().item())
    assert half.item() == 0.5
    assert torch.equal(total, ((output - x) ** 2).mean() * 0.5)
    summed = loss_function({"type": "terms", "terms": {"a": "output.sum()", "b": "output.mean()"}, "total": None})
    assert torch.equal(summed.first(output, {})[0], output.sum() + output.mean())


def test_outputs_are_found_by_position_by_key_or_whole():
    a, b = rows(3), rows(3)
    columns = {"target": LABELS}
    expected = F.cross_entropy(b, LABELS)
    named = {"type": "CrossEntropyLoss", "inputs": ["logits", "target"]}
    for outputs, declared in [((a, b), ("aux", "logits")), ({"aux": a, "logits": b}, ()), (b, ("logits",))]:
        function = loss_function(named, declared, columns)
        assert torch.equal(function.first(outputs, columns)[0], expected)
    whole = {"type": "CrossEntropyLoss", "inputs": ["output[1]", "target"]}
    assert torch.equal(loss_function(whole, (), columns).first((a, b), columns)[0], expected)


@pytest.mark.parametrize(
    ("section", "outputs", "declared", "code", "pointer"),
    [
        ({"type": "MSELoss", "inputs": ["output", "target"]}, rows(3), (), "shape_mismatch", "/model"),
        ({"type": "MSELoss", "inputs": ["output[:, 0]", "target"]}, rows(3), (), "shape_mismatch", f"{LOSS}/inputs/0"),
        ({"type": "CrossEntropyLoss", "inputs": ["output", "labels"]}, rows(), (), "shape_mismatch", "/model"),
        ({"type": "CrossEntropyLoss", "inputs": ["output", "labels"]}, (rows(3), 1), (), "unexpected_output", "/model"),
        (
            {"type": "CrossEntropyLoss", "inputs": ["output", "labels"]},
            {"a": rows(3), "b": 1},
            (),
            "unexpected_output",
            f"{LOSS}/inputs/0",
        ),
        ({"type": "MSELoss", "inputs": ["output", "y"]}, LABELS, (), "dtype_mismatch", "/model"),
        ({"type": "MSELoss", "inputs": ["a", "y"]}, rows(3), ("a", "b"), "unexpected_output", "/model/outputs"),
        ({"type": "MSELoss", "inputs": ["a", "y"]}, {"c": rows(3)}, ("a", "b"), "unexpected_output", "/model/outputs"),
        ({"type": "MSELoss", "inputs": ["a", "y"]}, {"c": rows(3)}, (), "unknown_name", f"{LOSS}/inputs/0"),
        ({"type": "terms", "terms": {"a": "output"}, "total": "a"}, rows(), (), "loss_not_scalar", f"{LOSS}/total"),
        ({"type": "terms", "terms": {"a": "y.mean()"}, "total": None}, rows(), (), "loss_without_gradient", LOSS),
        ({"type": "terms", "terms": LIST, "total": "output"}, rows(1)[0, 0], (), "loss_not_scalar", f"{LOSS}/terms/a"),
        ({"type": "terms", "terms": {"a": "labels.sum()"}, "total": None}, rows(), (), "dtype_mismatch", LOSS),
        ({"type": "terms", "terms": {"a": "1.0"}, "total": None}, rows(), (), "loss_not_scalar", "/training/loss"),
        (
            {"type": "terms", "terms": {"a": "F.mse_loss(output * 2, y)"}, "total": "a"},
            rows(1),
            (),
            "shape_mismatch",
            "/training/loss/total",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_minimised_is_refused_at_its_place(section, outputs, declared, code, pointer):
    columns = {"target": REAL[:, :1], "y": REAL[:, 0], "labels": LABELS}
    with pytest.raises(InvalidRequest) as caught:
        loss_function(section, declared, columns).first(outputs, columns)
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer) == (code, pointer)
    assert problem.hint or code == "loss_not_scalar"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("(output - y).abs().mean()", "shape_mismatch", "would broadcast to [6, 6]"),
        ("torch.mm(output, y).sum()", "shape_mismatch", "output [6, 1], y [6]"),
        ("F.cross_entropy(output, y.long().squeeze(3)).sum()", "shape_mismatch", "y [6]"),
        ("F.l1_loss(output, y)", "shape_mismatch", "would broadcast to [6, 6]"),
        ("output['a']", "expression_failed", "output [6, 1]"),
        ("F.embedding(y, output).sum()", "dtype_mismatch", "y [6]"),
        ("output[0].mean().item().shape", "expression_failed", "float"),
    ],
)
def test_an_expression_that_fails_names_itself_its_column_and_the_shapes(text, code, words):
    section = {"type": "terms", "terms": {"first": "output.mean()", "a": text}, "total": "a"}
    function, columns = loss_function(section, (), ["y"]), {"y": REAL[:, 0]}
    outputs = rows(1)
    with pytest.raises(Exception) as caught:
        function.first(outputs, columns)
    problem = function.problem_of(caught.value, outputs, columns)
    assert problem.pointer == "/training/loss/terms/a"
    assert problem.column
    assert words in problem.detail
    assert problem.code == code
