"""Statistics and preview of a built-in data set; runs in a child, because the API does not import scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.datasets.builtin import load_columns
from services.datasets.catalog import get_builtin
from services.datasets.parsing.child import Line
from services.datasets.parsing.profile import profile
from services.datasets.parsing.table import Values


def run(payload: Mapping[str, Any], line: Line) -> int:
    """Answer ``{"table": {"statistics", "preview"}}`` for the data set called ``name``."""
    info = get_builtin(payload["name"])
    table = {}
    for name, array in load_columns(info).items():
        names = info.columns[name].class_names
        table[name] = Values(array, "category", names) if names else Values(array)
    line.emit({"table": profile(table)})
    return 0
