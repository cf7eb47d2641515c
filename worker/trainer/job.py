"""The job file: everything that a trainer is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DEFAULT_RUNTIME_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at a job; the sections are those of the resolved request, and their members are named there."""

    job_id: str
    attempt: int
    definition: Any
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    checkpoints: Mapping[str, Any]
    output: Path
    device: str
    threads: int
    processes: int
    """How many processes share each batch."""
    max_runtime_seconds: float
    resume: Path | None
    initial_weights: Path | None
    """Where the weights to begin with lie, and under ``initial_tensors`` what they are called (here → there)."""
    initial_tensors: Mapping[str, str]

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Job:
        """Read the content of a job file.

        Raises:
            KeyError: a member is missing; a supervisor never writes such a file.
        """
        resume = payload.get("resume")
        return cls(
            job_id=payload["job_id"],
            attempt=int(payload.get("attempt", 1)),
            definition=payload["definition"],
            data=payload["data"],
            training=payload["training"],
            checkpoints=payload["checkpoints"],
            output=Path(payload["output"]),
            device=payload.get("device", "auto"),
            threads=int(payload.get("threads", 1)),
            processes=processes_of(payload),
            max_runtime_seconds=float(payload.get("max_runtime_seconds", _DEFAULT_RUNTIME_SECONDS)),
            resume=Path(resume["directory"]) if resume else None,
            initial_weights=Path(payload["initial_weights"]) if payload.get("init_from") else None,
            initial_tensors=(payload.get("init_from") or {}).get("tensors", {}),
        )


def processes_of(payload: Mapping[str, Any]) -> int:
    """Return how many processes a job file asks for."""
    return int(payload.get("resources", {}).get("processes") or 1)
