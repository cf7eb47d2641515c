"""What every section of a request has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

MAX_SEED = 2**63 - 1


class Section(BaseModel):
    """A section of a request: no coercion, no unknown fields, no NaN, never changed afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class Component(Section):
    """A section whose ``type`` names a class of torch; its other members are that class's own arguments."""

    type: str

    def arguments(self) -> dict[str, Any]:
        """Return what the class is called with."""
        return self.model_dump(exclude={"type", "interval"})


def problem(code: str, detail: str, *, pointer: str = "", hint: str | None = None) -> PydanticCustomError:
    """Return the error that a validator raises; ``problems_from`` turns it into a `Problem` at ``pointer`` below it."""
    return PydanticCustomError(
        "problem", "{detail}", {"code": code, "detail": detail, "pointer": pointer, "hint": hint}
    )
