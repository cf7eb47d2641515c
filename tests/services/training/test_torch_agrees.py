"""The arguments offered are those of torch, with torch's own defaults."""

import inspect
from typing import get_args

import pytest
import torch
from pydantic_core import PydanticUndefined

from services.training.losses import AnyLoss
from services.training.optimizers import Optimizer
from services.training.schedulers import WHOLE_RUN_ARGUMENTS, Scheduler

HOMES = {Optimizer: torch.optim, Scheduler: torch.optim.lr_scheduler, AnyLoss: torch.nn}
CASES = [(kind, home) for union, home in HOMES.items() for kind in get_args(get_args(union)[0])]
# Whole-run lengths have no default in torch, or a fixed one that means nothing for a run of another length.
OWN_DEFAULTS = {(name, argument) for name, argument in WHOLE_RUN_ARGUMENTS.items()}


@pytest.mark.parametrize(("model", "home"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_arguments_and_defaults_are_those_of_torch(model, home):
    parameters = inspect.signature(getattr(home, model.__name__).__init__).parameters
    for name, field in model.model_fields.items():
        if name in ("type", "interval"):
            continue
        assert name in parameters
        if (model.__name__, name) not in OWN_DEFAULTS:
            default = field.get_default(call_default_factory=True)
            expected = parameters[name].default
            assert (PydanticUndefined if expected is inspect.Parameter.empty else expected) == (
                tuple(default) if isinstance(default, list) else default
            )
