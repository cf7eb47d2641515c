"""What a client can ask about checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelwright.errors import NotFound
from modelwright.requests import Requests, path

Json = dict[str, Any]


class CheckpointCalls(Requests):
    """The methods that find checkpoints."""

    def checkpoints(self, job_id: str, *, limit: int | None = None) -> Iterator[Json]:
        """Yield a job's checkpoints, newest first."""
        return self._pages(path("jobs", job_id, "checkpoints"), [], limit)

    def get_checkpoint(self, checkpoint_id: str) -> Json:
        """Return a checkpoint: step, metrics, sha256, size."""
        return self._get(path("checkpoints", checkpoint_id))

    def find_checkpoint(self, identifier: str) -> Json:
        """Return the checkpoint of that id, or the newest one of the job of that id.

        Raises:
            NotFound: there is none.
        """
        if identifier.startswith("ckpt_"):
            return self.get_checkpoint(identifier)
        for checkpoint in self.checkpoints(identifier, limit=1):
            return checkpoint
        raise NotFound(404, {"code": "not_found", "detail": f"{identifier} has no checkpoint yet."})
