"""Which pages of other origins may ask from a browser (``MODELWRIGHT_CORS_ORIGINS``), what they may send and see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SENT = (
    "Authorization",
    "Content-Digest",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
    "Repr-Digest",
    "X-Request-Id",
)
_SHOWN = (
    "Content-Disposition",
    "Content-Range",
    "Deprecation",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Modelwright-Version",
    "RateLimit",
    "RateLimit-Policy",
    "Repr-Digest",
    "Retry-After",
    "Sunset",
    "X-Request-Id",
)
_REMEMBERED_SECONDS = 600


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Return the options of Starlette's middleware; ``*`` is every origin.

    Keys come in a header that a page must set by itself, so nothing rides on cookies and credentials stay off.
    """
    return {
        "allow_origins": list(origins),
        "allow_methods": _METHODS,
        "allow_headers": _SENT,
        "expose_headers": _SHOWN,
        "allow_credentials": False,
        "max_age": _REMEMBERED_SECONDS,
    }
