"""Examples of webhooks in the OpenAPI document; a test creates every one of them."""

from __future__ import annotations

from typing import Any

WEBHOOKS: dict[str, dict[str, Any]] = {
    "ends": {
        "summary": "Be told how jobs end",
        "value": {
            "url": "https://hooks.example.com/modelwright",
            "events": ["job.state_changed:succeeded", "job.state_changed:failed", "job.state_changed:cancelled"],
        },
    },
    "everything": {
        "summary": "Every event, signed with a secret of your own",
        "value": {
            "url": "https://hooks.example.com/all",
            "events": ["*"],
            "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        },
    },
}
CHANGES: dict[str, dict[str, Any]] = {
    "enable": {"summary": "Switch it on again", "value": {"enabled": True}},
    "events": {"summary": "Ask for less", "value": {"events": ["job.state_changed:failed"]}},
}
