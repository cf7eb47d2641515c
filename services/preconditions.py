"""Changing a thing only if it still is as the caller knows it: asked while its row is locked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

StillSo = Callable[[Mapping[str, Any]], None]
"""Takes the view of the thing as it is now, and raises if the caller knows another."""


def in_any_case(_view: Mapping[str, Any]) -> None:
    """Whatever it is by now."""
