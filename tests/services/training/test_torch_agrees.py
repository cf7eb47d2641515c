"""The arguments offered are those of torch, with torch's own defaults."""

import inspect
from typing import get_args

import pytest
import torch
from pydantic_core import PydanticUndefined

from services.training.lengths import WHOLE_RUN_ARGUMENTS
from services.training.losses import LOSSES
from services.training.optimizers import Optimizer
from services.training.schedulers import Scheduler

HOMES = {Optimizer: torch.optim, Scheduler: torch.optim.lr_scheduler}
CASES = [(kind, home) for union, home in HOMES.items() for kind in get_args(get_args(union)[0])]
CASES += [(loss, torch.nn) for loss in LOSSES.values()]
# Whole-run lengths have no default in torch, or a fixed one that means nothing for a run of another length.
OWN_DEFAULTS = {(name, argument) for name, argument in WHOLE_RUN_ARGUMENTS.items()}
# Members of ours that no torch class has; the parts of a composed schedule are built before it.
OWN_MEMBERS = ("type", "interval", "groups", "metric", "schedulers", "inputs")
# How torch computes, not what: the trainer chooses. `params` and `optimizer` are what they are about.
IMPLEMENTATION = {"self", "params", "optimizer", "foreach", "fused", "capturable", "differentiable", "last_epoch"}
LEFT_OUT = {
    ("CyclicLR", "scale_fn"): "a Python function",
    ("CyclicLR", "scale_mode"): "of scale_fn",
    ("OneCycleLR", "epochs"): "total_steps says it",
    ("OneCycleLR", "steps_per_epoch"): "total_steps says it",
    ("ChainedScheduler", "schedulers"): "sections of their own",
    ("SequentialLR", "schedulers"): "sections of their own",
}
NOT_OFFERED = {
    "Optimizer": "the base class",
    "LRScheduler": "the base class",
    "_LRScheduler": "an old name of the base class",
    "LambdaLR": "takes a Python function",
    "MultiplicativeLR": "takes a Python function",
}


def classes(module, base):
    """Return the subclasses of ``base`` that a module of torch offers."""
    found = {name: kind for name, kind in vars(module).items() if inspect.isclass(kind) and issubclass(kind, base)}
    return {name: kind for name, kind in found.items() if name not in NOT_OFFERED}


@pytest.mark.parametrize(
    ("union", "home", "base"),
    [
        (Optimizer, torch.optim, torch.optim.Optimizer),
        (Scheduler, torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),
    ],
    ids=["optimizers", "schedulers"],
)
def test_every_class_of_torch_is_offered_with_every_argument_that_says_what_it_does(union, home, base):
    offered = {kind.__name__: kind for kind in get_args(get_args(union)[0])}
    assert set(offered) == set(classes(home, base))
    for name, kind in classes(home, base).items():
        theirs = set(inspect.signature(kind.__init__).parameters) - IMPLEMENTATION
        missing = theirs - set(offered[name].model_fields)
        assert all((name, argument) in LEFT_OUT for argument in missing), (name, missing)


@pytest.mark.parametrize(("model", "home"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_arguments_and_defaults_are_those_of_torch(model, home):
    parameters = inspect.signature(getattr(home, model.__name__).__init__).parameters
    for name, field in model.model_fields.items():
        if name in OWN_MEMBERS:
            continue
        assert name in parameters
        if (model.__name__, name) not in OWN_DEFAULTS:
            default = field.get_default(call_default_factory=True)
            expected = parameters[name].default
            assert (PydanticUndefined if expected is inspect.Parameter.empty else expected) == (
                tuple(default) if isinstance(default, list) else default
            )


EDGES = {"lr": 1e6, "weight_decay": 1e6, "eps": 1.0, "momentum": 1.0, "alpha": 0.0}


@pytest.mark.parametrize("model", get_args(get_args(Optimizer)[0]), ids=lambda model: model.__name__)
def test_torch_takes_what_the_limits_allow(model):
    parameters = [torch.nn.Parameter(torch.ones(2, 2))]
    section = {"type": model.__name__}
    for name in ("default", *EDGES):
        if name == "default" or name in model.model_fields:
            edge = (
                {}
                if name == "default"
                else {name: 0.9 if (model.__name__, name) == ("Muon", "momentum") else EDGES[name]}
            )
            if model.__name__ == "Adafactor" and name == "eps":
                edge = {"eps": [1.0, 0.0]}
            arguments = model.model_validate({**section, **edge}).arguments()
            tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
            getattr(torch.optim, model.__name__)(parameters, **tuples)


LOSSES_LEFT_OUT = {
    "AdaptiveLogSoftmaxWithLoss": "has weights: it is a layer",
    "LinearCrossEntropyLoss": "has weights: it is a layer",
    "NLLLoss2d": "deprecated",
    "TripletMarginWithDistanceLoss": "takes a Python function",
}
DEPRECATED = {"self", "size_average", "reduce"}


def test_every_loss_of_torch_is_offered_with_all_its_arguments_and_what_it_is_called_with():
    installed = {name for name in dir(torch.nn) if name.endswith(("Loss", "Loss2d"))}
    assert set(LOSSES) == installed - LOSSES_LEFT_OUT.keys()
    for name, loss in LOSSES.items():
        theirs = getattr(torch.nn, name)
        assert set(inspect.signature(theirs.__init__).parameters) - DEPRECATED <= loss.model_fields.keys(), name
        assert tuple(inspect.signature(theirs.forward).parameters)[1:] == loss.forward
