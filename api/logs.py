"""Log lines of the API process: those of every process, and uvicorn's among them."""

from __future__ import annotations

import logging

from services.logging import configure_logging, ids


def request_id() -> str | None:
    """Return the request that this task or thread works for."""
    return ids.get().get("request_id")


def configure(level: str) -> None:
    """Send every logger of this process, uvicorn's own included, through the formatter to standard error."""
    configure_logging(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    # Our own access line says more, and uvicorn formats its own only if somebody listens.
    logging.getLogger("uvicorn.access").propagate = False
