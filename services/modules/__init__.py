"""The torch side of the model language: definitions become modules and source, modules become definitions."""

from services.modules.build import build
from services.modules.emit import emit, source
from services.modules.preflight import preflight

__all__ = ["build", "emit", "preflight", "source"]
