"""A data set on disk, as a worker or a prediction reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataFile:
    """One tensor a column, rows first; ``sha256`` is that of the file."""

    path: Path
    sha256: str
