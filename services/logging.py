"""Logs: one line of JSON each, with the ids that it is about and without secrets, the same in every process."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from services.telemetry import tracing
from services.tenants.keys import redact

ids: ContextVar[Mapping[str, Any]] = ContextVar("ids", default={})  # noqa: B039 - never changed, only replaced
"""What every line of this task or thread is about: ``request_id``, ``tenant_id``, ``job_id``, ``attempt`` …"""

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)  # `json.dumps` would make one for each line
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """Writes a record, what it is about, and what was passed as ``extra``, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **ids.get(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if trace_id := tracing.trace_id():
            line["trace_id"] = trace_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(_ENCODER.encode(line))


@contextmanager
def about(**more: Any) -> Iterator[None]:  # noqa: ANN401 - ids are texts and numbers
    """Let every line that the block writes, in this task or thread, be about these ids too."""
    token = ids.set({**ids.get(), **more})
    try:
        yield
    finally:
        ids.reset(token)


def configure_logging(level: str) -> None:
    """Send everything from ``level`` up to standard error, a line of JSON each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
