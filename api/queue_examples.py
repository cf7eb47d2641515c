"""Examples of changes to jobs, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

CHANGES: dict[str, Any] = {
    "priority": {"summary": "Before the others of yours", "value": {"priority": 10}},
    "labels": {"summary": "Set one label, take another away", "value": {"labels": {"team": "vision", "draft": None}}},
}
