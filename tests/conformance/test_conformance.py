"""Every case agrees with its ordinary class on keys, draws, outputs, gradients, training, resuming and source."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from services.definition import check
from services.modules import build, source
from tests.conformance import article, generative, recursive, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES, Case

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(params=CASES, ids=str)
def pair(request):
    """Return the case, our module and the original, each built from seed 3."""
    case: Case = request.param
    definition = check(case.document)
    torch.manual_seed(3)
    ours = build(definition)
    torch.manual_seed(3)
    return case, definition, ours, case.original()


def inputs_of(case: Case, batch: int):
    torch.manual_seed(11)
    return case.inputs(batch)


def tensors_of(value):
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [tensor for item in items for tensor in tensors_of(item)]


def run(model, inputs, seed=5):
    """Return outputs and gradients of one forward and backward."""
    torch.manual_seed(seed)
    model.zero_grad()
    outputs = tensors_of(model(*inputs))
    loss = sum(output.float().pow(2).sum() for output in outputs if output.is_floating_point())
    loss.backward()
    return [output.detach() for output in outputs], [p.grad for p in model.parameters()]


def assert_equal(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype and one.shape == other.shape
            assert torch.equal(one.nan_to_num(7.5), other.nan_to_num(7.5))


def assert_same_state(ours, theirs):
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_equal(list(ours.state_dict().values()), list(theirs.state_dict().values()))


def train(model, case, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for step in range(steps):
        run(model, inputs_of(case, 3), seed=step)
        optimizer.step()
    return model


def test_a_definition_equals_its_class(pair):
    case, definition, ours, theirs = pair
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert_same_state(ours, theirs)

    for training in (True, False):
        for batch in (3, 5):
            inputs = inputs_of(case, batch)
            mine, other = copy.deepcopy(ours).train(training), copy.deepcopy(theirs).train(training)
            mine.load_state_dict(theirs.state_dict())
            for left, right in zip(run(mine, inputs), run(other, inputs), strict=True):
                assert_equal(left, right)

    half = train(copy.deepcopy(ours), case, 2)
    buffer = io.BytesIO()
    torch.save(half.state_dict(), buffer)
    buffer.seek(0)
    resumed = build(definition)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    assert_same_state(train(resumed, case, 3), train(half, case, 3))
    assert_same_state(train(ours, case, 5), train(theirs, case, 5))


def test_the_downloaded_source_alone_gives_the_same(pair):
    case, definition, ours, _ = pair
    text = source(definition)
    assert "services" not in text and "modelwright" not in text
    namespace: dict = {}
    exec(compile(text, "downloaded", "exec"), namespace)
    torch.manual_seed(3)
    alone = namespace["build_model"]()
    assert_same_state(alone, ours)
    inputs = inputs_of(case, 3)
    for left, right in zip(run(alone, inputs), run(ours, inputs), strict=True):
        assert_equal(left, right)
