"""Examples of requests for keys in the OpenAPI document."""

from __future__ import annotations

from typing import Any

KEYS: dict[str, dict[str, Any]] = {
    "reader": {
        "summary": "A dashboard that only looks, for a school year",
        "value": {"name": "dashboard", "scopes": ["jobs:read", "checkpoints:read"], "expires_in_seconds": 31_536_000},
    },
    "trainer": {
        "summary": "A program that submits jobs and downloads what they learned",
        "value": {"name": "nightly", "scopes": ["jobs:read", "jobs:write", "checkpoints:read"]},
    },
}

ROTATIONS: dict[str, dict[str, Any]] = {
    "hour": {"summary": "The old key is good for another hour", "value": {"overlap_seconds": 3600}},
    "now": {"summary": "The old key ends at once", "value": {"overlap_seconds": 0}},
}
