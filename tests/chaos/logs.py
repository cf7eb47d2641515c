"""What the workers' logs add to a history: the attempts that were refused a write."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from tests.chaos.history import History

ABANDONED = "attempt abandoned"


def note_abandoned(history: History, directory: Path) -> None:
    """Add a record for each attempt whose worker says that it has lost the job."""
    for log in sorted(directory.glob("worker*.log")):
        for line in log.read_text(errors="replace").splitlines():
            with suppress(json.JSONDecodeError):
                said = json.loads(line)
                if isinstance(said, dict) and str(said.get("message", "")).startswith(ABANDONED):
                    at = datetime.fromisoformat(said["at"]).timestamp()
                    history.note("abandoned", job=said["job_id"], epoch=said["epoch"], said_at=at)
