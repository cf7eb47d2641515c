"""The shapes of answers about keys, usage and what was done, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.views import ListView, Time, View


class KeyView(View):
    """A key, without its secret."""

    id: str = Field(examples=["key_7hG2kQ9z"])
    object: Literal["key"]
    name: str
    scopes: list[str] = Field(examples=[["jobs:read", "jobs:write"]])
    state: Literal["active", "expired", "revoked"]
    created_at: str = Time
    created_by: str | None = Field(description="The key that made it; null for one that the operator made.")
    expires_at: str | None = Time
    last_used_at: str | None = Field(description="To the minute.")
    revoked_at: str | None = Time
    rotated_to: str | None = Field(description="The key that replaces it.")
    links: dict[str, str]


class NewKeyView(KeyView):
    """A key that was just made."""

    api_key: str | None = Field(
        description="What to send as `Authorization: Bearer …`; shown this once, and null in the answer to a repeat."
    )


class KeyList(ListView):
    """A page of keys."""

    data: list[KeyView]


class LimitView(View):
    """A limit, and what is left of it."""

    limit: int
    used: int | None = Field(description="null where it bounds one thing and is not used up.")
    remaining: int | None
    counts: str = Field(description="What is counted, in words.")


class UsageView(View):
    """What your tenant has used and may use."""

    object: Literal["usage"]
    tenant: dict[str, str] = Field(description="`id` and `name`.")
    jobs: dict[str, int] = Field(description="Jobs by state, and `total`.")
    training_seconds: float = Field(description="How long workers have been at work for you, all attempts together.")
    storage: dict[str, int] = Field(description="`bytes` in all (what is stored twice is counted once), and of what.")
    requests: dict[str, Any] = Field(description="`today` and `last_30_days`, each with `requests` and `refused`.")
    limits: dict[str, LimitView]


class AuditEntryView(View):
    """One call that changed something, or tried to."""

    id: str = Field(examples=["aud_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    object: Literal["audit_entry"]
    key_id: str | None = Field(description="Whose key it was; null for the operator of the service.")
    action: str = Field(examples=["POST /v1/jobs/{job_id}/cancel"])
    object_id: str | None = Field(description="What was made or changed.")
    status: int
    code: str | None = Field(description="Of the problem, if it was refused.")
    request_id: str | None
    created_at: str = Time


class AuditList(ListView):
    """A page of the audit log."""

    data: list[AuditEntryView]
