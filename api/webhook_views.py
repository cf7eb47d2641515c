"""The shapes of answers about webhooks, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.views import ListView, Time, View


class WebhookView(View):
    """An address that is told of events."""

    id: str = Field(examples=["whk_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    object: Literal["webhook"]
    url: str
    events: list[str] = Field(description="What it asked for; `[]`: only what jobs that name it ask for.")
    enabled: bool
    disabled_reason: str | None = Field(
        description="`by_request`, `failing` (for days), `gone` (the receiver answered 410)."
    )
    disabled_at: str | None = Time
    failing_since: str | None = Field(description="The first failure since the last success.")
    last_delivered_at: str | None = Time
    created_at: str = Time
    updated_at: str = Time
    links: dict[str, str]


class WebhookSecretView(WebhookView):
    """A webhook with its secret, which is shown this once."""

    secret: str = Field(
        description="What signatures are verified with.", examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
    )


class WebhookList(ListView):
    """A page of webhooks."""

    data: list[WebhookView]


class WebhookTryView(View):
    """One POST to a receiver."""

    at: str = Time
    status: int | None = Field(description="Null when no answer came.")
    latency_ms: float
    answer: str | None = Field(description="The first kilobyte of the answer.")
    error: str | None = Field(description="Why it counts as failed.")


class WebhookDeliveryView(View):
    """One event on its way to one webhook."""

    id: str = Field(description="Of the event; also sent as `webhook-id`.", examples=["evt_01m83xeszjt60983ses6fh2mav"])
    object: Literal["webhook_delivery"]
    webhook_id: str
    event_type: str = Field(examples=["job.state_changed"])
    job_id: str | None
    state: Literal["pending", "succeeded", "failed"]
    tried: int = Field(description="How often, since it was asked for.")
    tries: list[WebhookTryView] = Field(description="The last 20 of them, oldest first.")
    next_try_at: str | None = Field(description="While it is pending.")
    created_at: str = Time
    delivered_at: str | None = Time


class WebhookDeliveryList(ListView):
    """A page of deliveries, newest first."""

    data: list[WebhookDeliveryView]
