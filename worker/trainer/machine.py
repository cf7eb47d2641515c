"""How fast a run is, and the memory it takes: the series ``system/…``, which depend on the machine and on chance."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch

_STATM = Path("/proc/self/statm")
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def speed(steps: int, rows: int, seconds: float) -> dict[str, float]:
    """Return the rates of ``steps`` optimizer steps over ``rows`` training rows, all that lay between them included."""
    return {"system/steps_per_second": steps / seconds, "system/samples_per_second": rows / seconds}


def memory() -> dict[str, float]:
    """Return the bytes that this process holds in memory now and at most so far, and those of its CUDA device.

    Nothing waits for the device: torch's allocator counts on the host.
    """
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT)
    found = {"system/memory_peak_bytes": peak}
    if _STATM.exists():  # Linux; elsewhere the peak must do
        resident = float(int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        found = {"system/memory_bytes": resident, "system/memory_peak_bytes": max(peak, resident)}  # the peak lags
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found["system/cuda_memory_bytes"] = float(torch.cuda.memory_allocated())
        found["system/cuda_memory_peak_bytes"] = float(torch.cuda.max_memory_allocated())
    return found
