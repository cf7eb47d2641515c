"""The requests about webhooks, as pydantic checks them."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from services.training.model import Section, problem
from services.training.problems import nearest
from services.webhooks.filters import DEFAULT, FILTERS

MAX_URL_CHARACTERS = 2_000
SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret of Standard Webhooks begins with
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
"""As Standard Webhooks has it."""


def _check_event(name: str) -> str:
    if name not in FILTERS:
        raise problem("unknown_event", f"There is no event {name[:80]!r}.", hint=nearest(name, FILTERS))
    return name


def _check_secret(text: str) -> str:
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(SECRET_PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        detail = f"A secret is {SECRET_PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64."
        raise problem("invalid_secret", detail, hint="Leave it out, and one is made for you.")
    return text


Event = Annotated[str, AfterValidator(_check_event)]
Events = Annotated[list[Event], Field(max_length=len(FILTERS))]
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARACTERS)]
Secret = Annotated[str, Field(max_length=200), AfterValidator(_check_secret)]
_EVENTS = "Types of events, `job.*`, `*`, or `job.state_changed:succeeded` and its like."


class WebhookRequest(Section):
    """``POST /v1/webhooks``."""

    url: Url = Field(description="An https address of a host that the operator allows.")
    events: Events = Field(default=[*DEFAULT], description=f"{_EVENTS} With `[]` only of jobs that name this webhook.")
    secret: Secret | None = Field(None, description="`whsec_…`, if you have one already; else one is made.")


class WebhookChange(Section):
    """``PATCH /v1/webhooks/{id}``."""

    url: Url | None = Field(None, description="Another address.")
    events: Events | None = Field(None, description=_EVENTS)
    enabled: bool | None = Field(None, description="Whether anything is delivered; true makes a failed one try again.")


class JobWebhook(Section):
    """Who is told of one job's events: a webhook, or an address, which becomes one."""

    id: Annotated[str, Field(max_length=64)] | None = Field(None, description="A webhook of yours: `whk_…`.")
    url: Url | None = Field(None, description="Or an https address.")
    events: Events = Field(default=[*DEFAULT], description=_EVENTS)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.id is None) == (self.url is None):
            raise problem("conflict", "Give either the `id` of a webhook or a `url`.")
        return self


def spell_out(value: object) -> object:
    """Return the whole object for a webhook's id or a URL."""
    if not isinstance(value, str):
        return value
    return {"id": value} if value.startswith("whk_") else {"url": value}
