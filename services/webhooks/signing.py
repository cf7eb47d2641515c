"""Signatures as Standard Webhooks 1.0 has them: HMAC-SHA256 over id, time and body, by the project's own library."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

from services.webhooks.schema import SECRET_PREFIX

_SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new secret: ``whsec_`` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def signed_headers(event_id: str, body: str, *, at: datetime, keys: Sequence[str]) -> dict[str, str]:
    """Return the three headers; while a secret is being replaced the old one signs as well."""
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(event_id, at, body) for key in keys),
    }
