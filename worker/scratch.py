"""The scratch folder of one attempt: the job file, the checkpoint to resume from, what the trainer writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from services.jobs.claims import Claim


class Scratch:
    """A folder that lives as long as the attempt."""

    def __init__(self, root: Path, claim: Claim) -> None:
        self.directory = root / f"{claim.job_id}-{claim.epoch}"
        self.resume = self.directory / "resume"
        self.initial_weights = self.directory / "initial" / "weights.safetensors"
        self.output = self.directory / "output"
        self.log = self.directory / "trainer.log"

    def __enter__(self) -> Scratch:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.output.mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def write_job(self, job: Mapping[str, Any]) -> None:
        """Write the job file: ``python -m worker.trainer job.json`` runs the very same."""
        (self.directory / "job.json").write_text(json.dumps(job, indent=1))

    def log_tail(self, size_bytes: int = 4096) -> str:
        """Return the end of what the trainer printed, for the operator's log; it never reaches a client."""
        try:
            return self.log.read_bytes()[-size_bytes:].decode(errors="replace")
        except OSError:
            return ""
