"""The progress of a job where its user is: a live bar in a terminal, a live line in a notebook, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console

from modelwright.cli.watching import follow


def show(changes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw every change and return the last one. rich finds out by itself whether this is a notebook."""
    notebook = "ipykernel" in sys.modules
    # In a notebook standard error is red; rich draws into the cell instead.
    return dict(follow(changes, Console() if notebook else Console(stderr=True), as_json=False))
