"""The optimizer of a plan, in torch's fastest form for the device, and the bound on its gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from services.errors import user_failure
from services.training.patterns import grouped

_FUSED = {"cpu": ("SGD", "Adam", "AdamW", "Adagrad"), "cuda": ("SGD", "Adam", "AdamW")}
# How torch computes, not what: a resumed optimizer keeps its own.
_IMPLEMENTATION = ("fused", "foreach", "capturable", "differentiable")
_OWN_MEMBERS = ("type", "groups", "match")


def build_optimizer(section: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer over the parameters of ``model`` that require gradients, in the groups of ``section``.

    Raises:
        TrainingFailure: ``no_trainable_parameters``, or ``invalid_argument`` where the optimizer cannot train some.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not named:
        hint = "Add a layer with weights, or make one trainable."
        raise user_failure(
            "no_trainable_parameters", "The model has no parameter to train.", hint=hint, pointer="/model"
        )
    kind: type[torch.optim.Optimizer] = getattr(torch.optim, section["type"])
    arguments = {**_arguments(section), **_implementation(kind, model, list(named.values()))}
    try:
        return kind(_groups(section.get("groups") or (), named), **arguments)
    except ValueError as error:
        raise user_failure("invalid_argument", f"{error}.", pointer="/training/optimizer") from None


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimizer's state, also one that was saved on another kind of device."""
    own = [{name: group[name] for name in _IMPLEMENTATION if name in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, flags in zip(optimizer.param_groups, own, strict=True):
        group.update(flags)


def quick_step(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Return what ``optimizer.step`` comes to, without what torch wraps around it.

    The wrappers mark the step for the profiler, run hooks (nobody registers any) and break the graphs of a compiler
    that is not there: a tenth of the time of a small model's step.
    """
    step = inspect.unwrap(type(optimizer).step)

    def move() -> None:
        with torch.no_grad():
            step(optimizer)

    return move


def has_sparse_gradients(model: nn.Module) -> bool:
    """Tell whether some gradients hold only the rows that a batch touched."""
    return any(getattr(module, "sparse", False) is True for module in model.modules())


def build_clip(section: Mapping[str, Any] | None, parameters: Sequence[nn.Parameter]) -> Callable[[], Tensor | None]:
    """Return what bounds the gradients before each step: it returns their norm where that is known."""
    if section is None:
        return lambda: None
    if section["norm"] is not None:
        return lambda: nn.utils.clip_grad_norm_(parameters, section["norm"])

    def clip_values() -> None:
        nn.utils.clip_grad_value_(parameters, section["value"])

    return clip_values


def _groups(sections: Sequence[Mapping[str, Any]], named: Mapping[str, nn.Parameter]) -> list[Any]:
    """Return torch's parameter groups: first what no section matches, then each section's; empty ones are left out."""
    if not sections:
        return list(named.values())
    options = [{}, *(_arguments(section) for section in sections)]
    found = grouped(named, [section["match"] for section in sections])
    return [
        {"params": [named[name] for name in names], **one} for names, one in zip(found, options, strict=True) if names
    ]


def _arguments(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return what torch is called with; its pairs are tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in section.items()
        if name not in _OWN_MEMBERS
    }


def _implementation(
    kind: type[torch.optim.Optimizer], model: nn.Module, parameters: Sequence[nn.Parameter]
) -> dict[str, Any]:
    device = parameters[0].device.type
    if has_sparse_gradients(model):
        return {}
    if kind.__name__ in _FUSED.get(device, ()) and all(
        p.is_floating_point() and p.device.type == device for p in parameters
    ):
        return {"fused": True}
    return {"foreach": True} if "foreach" in inspect.signature(kind).parameters else {}
