"""The OpenAPI document as it was last accepted (``docs/openapi.json``), and what has changed since.

python -m tests.api.openapi_snapshot        accept the document as it is now (``make openapi``)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.app import create_app
from services.config import load_settings

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
_SHOWN_CHARACTERS = 100


def document() -> dict[str, Any]:
    """Return the document of an application that nobody starts."""
    app = create_app(load_settings({"DATABASE_URL": "postgresql://nowhere", "REDIS_URL": "redis://nowhere"}))
    return dict(json.loads(json.dumps(app.openapi())))


def accepted() -> dict[str, Any]:
    """Return the document that was last accepted."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def changes(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Yield a line for each difference, ``+`` added, ``-`` removed, ``~`` changed, with its place."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            below = f"{place} › {name}" if place else name
            if name not in now:
                yield f"- {below}"
            elif name not in before:
                yield f"+ {below}"
            else:
                yield from changes(before[name], now[name], below)
    elif before != now:
        yield f"~ {place}: {_shown(before)} → {_shown(now)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"accepted: {FILE}")
