"""The application that ``python -m uvicorn api.main:app`` serves."""

from __future__ import annotations

from api import logs
from api.app import create_app
from services import failpoints
from services.config import load_settings

_settings = load_settings()
logs.configure(_settings.log_level)
failpoints.arm(_settings.failpoint)
app = create_app(_settings)
