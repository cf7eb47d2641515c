"""What a worker says of itself: its device and the versions of what it runs. No torch is loaded to find out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

_GPUS = Path("/proc/driver/nvidia/gpus")
_CPU = Path("/proc/cpuinfo")
_PACKAGES = ("modelwright", "torch", "celery")


def describe(devices: Sequence[str], *, gpus: int, cores: int) -> dict[str, Any]:
    """Return ``device`` (type, name and count; cores on a CPU) and ``versions``, each by name."""
    cuda = "cuda" in devices
    device = {"type": "cuda" if cuda else "cpu", "name": _gpu() if cuda else _cpu(), "count": gpus if cuda else cores}
    return {"device": device, "versions": {"python": platform.python_version(), **_versions()}}


def _versions() -> dict[str, str]:
    return {name: version for name in _PACKAGES if (version := _version(name))}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gpu() -> str | None:
    return next((name for file in sorted(_GPUS.glob("*/information")) if (name := _field(file, "Model"))), None)


def _cpu() -> str | None:
    return _field(_CPU, "model name") or platform.machine() or None


def _field(file: Path, name: str) -> str | None:
    """Return the first value of a field in a file of ``name : value`` lines; None where there is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)
