"""What every optimizer section shares: bounds of common arguments, and groups of parameters chosen by name."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from services.training.model import Component, Section, problem
from services.training.problems import problems_from

LearningRate = Annotated[float, Field(gt=0, le=1e6, description="Learning rate.")]
Decay = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(ge=0, le=1)]
Betas = Annotated[list[Beta], Field(min_length=2, max_length=2)]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]

MAX_GROUPS = 64


class Group(Section):
    """Parameters whose names match, and the optimizer's arguments that differ for them (``lr``, ``weight_decay`` …)."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, frozen=True)

    match: Pattern = Field(description="A pattern such as `*.bias` or `backbone.*`; `*` stands for any characters.")


class OptimizerSection(Component):
    """An optimizer with the arguments of the torch class of its name.

    ``groups`` are tried in order: a parameter belongs to the first whose pattern matches its name, else to the rest,
    which the optimizer's own arguments are for. Once checked, a group holds all arguments, not just those that differ.
    """

    can_group: ClassVar[bool] = True
    groups: Annotated[list[Group], Field(max_length=MAX_GROUPS)] = Field(
        default_factory=list, description="Other arguments for parameters chosen by name; the first match wins."
    )

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.groups and not self.can_group:
            detail = f"{self.type} treats all parameters alike: it takes no groups."
            raise problem("conflict", detail, pointer="/groups", hint="Leave groups out, or use another optimizer.")
        for index, group in enumerate(self.groups):
            _filled(self, group, f"/groups/{index}")
        return self

    def resolved(self) -> dict[str, Any]:
        """Return the section with every group's arguments filled in."""
        groups = [{"match": group.match, **_filled(self, group, "").arguments()} for group in self.groups]
        return {**self.model_dump(exclude={"groups"}), "groups": groups}

    def arguments(self) -> dict[str, Any]:
        """Return what the class is called with."""
        return self.model_dump(exclude={"type", "groups"})


def _filled(section: OptimizerSection, group: Group, pointer: str) -> OptimizerSection:
    """Return the section as it stands for one group; raise the first problem of the group's own arguments."""
    overrides = group.model_extra or {}
    for name in ("type", "groups"):
        if name in overrides:
            raise problem("extra_forbidden", f"There is no field `{name}` here.", pointer=f"{pointer}/{name}")
    base = section.model_dump(exclude={"groups"})
    try:
        return type(section).model_validate({**base, **overrides})
    except ValidationError as error:
        first = problems_from(error, type(section))[0]
        raise problem(first.code, first.detail, pointer=pointer + first.pointer, hint=first.hint) from None
