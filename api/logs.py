"""Log lines of the API process: those of every process, with the request they belong to."""

from __future__ import annotations

import logging
from contextvars import ContextVar

from services.logging import JsonFormatter, configure_logging

__all__ = ["JsonFormatter", "configure", "request_id"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request that this task or thread works for."""


def configure(level: str) -> None:
    """Send every logger of this process, uvicorn's own included, through the formatter to standard error."""
    configure_logging(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    # Our own access line says more, and uvicorn formats its own only if somebody listens.
    logging.getLogger("uvicorn.access").propagate = False
