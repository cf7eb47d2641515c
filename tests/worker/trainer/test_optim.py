"""Steps without what torch wraps around them are the same steps."""

import copy
import warnings

import pytest
import torch
from torch import nn

from worker.trainer.optim import build_optimizer, quick_step
from worker.trainer.schedule import Schedule
from worker.trainer.update import build_update

# LBFGS evaluates by itself, and SparseAdam takes sparse gradients alone.
KINDS = sorted(name for name in torch.optim.__all__ if name not in ("Optimizer", "LBFGS", "SparseAdam"))
KINDS = [name for name in KINDS if isinstance(getattr(torch.optim, name), type)]
PLAN = {"gradient_clip": None, "precision": "fp32", "on_non_finite": "fail"}


def make(kind):
    torch.manual_seed(0)
    model = nn.Linear(6, 4, bias=False)  # one matrix: Muon takes nothing else
    return model, build_optimizer({"type": kind}, model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quick_step_moves_the_weights_as_the_public_one_does(kind):
    (ours, optimizer), (theirs, public) = make(kind), make(kind)
    quick = quick_step(optimizer)
    for turn in range(4):
        torch.manual_seed(turn)
        rows = torch.randn(5, 6)
        for model, step in ((ours, quick), (theirs, public.step)):
            model.zero_grad()
            model(rows).square().mean().backward()
            step()
    assert torch.equal(ours.weight, theirs.weight)
    assert ours.weight.requires_grad
    assert ours.weight.grad_fn is None


def test_schedulers_see_that_steps_are_made():
    model, optimizer = make("SGD")
    update = build_update(PLAN, model, optimizer)
    schedule = Schedule({"type": "StepLR", "interval": "step", "step_size": 2, "gamma": 0.5}, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            update.step(lambda: update.backward(model(torch.ones(1, 6)).sum()), measure=False)
            schedule.after_step()
    assert schedule.rates == [pytest.approx(0.001 / 4)]


def test_the_gradient_of_a_loss_is_the_one_that_torch_gives_whatever_its_type():
    model, optimizer = make("SGD")
    update = build_update(PLAN, model, optimizer)
    for dtype in (torch.float32, torch.float64, torch.float32):
        twin = copy.deepcopy(model)
        twin(torch.ones(2, 6)).square().sum().to(dtype).backward()
        model.zero_grad()
        update.backward(model(torch.ones(2, 6)).square().sum().to(dtype))
        assert torch.equal(model.weight.grad, twin.weight.grad)
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        update.backward(model(torch.ones(2, 6)))
