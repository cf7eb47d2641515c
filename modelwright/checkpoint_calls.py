"""What a client can do with checkpoints."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright.errors import NotFound
from modelwright.live import as_module
from modelwright.requests import Requests, path

if TYPE_CHECKING:
    from torch import nn

    from modelwright.download import Progress
    from modelwright.transport import RetryPolicy

Json = dict[str, Any]


class CheckpointCalls(Requests):
    """The methods that find, download and load checkpoints."""

    _retries: RetryPolicy

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

    def download(self, identifier: str, target: str | Path | None = None, *, progress: Progress | None = None) -> Path:
        """Download a checkpoint's weights (safetensors) and return where they are.

        Args:
            identifier: a checkpoint, or a job: then its newest checkpoint.
            target: a file, or an existing folder; by default ``<checkpoint id>.safetensors`` here.
            progress: called with the bytes that are here and all bytes.

        Raises:
            NotFound: there is no such checkpoint, or the job has none yet.
            DownloadCorrupt: the bytes do not have the promised sha256.
        """
        from modelwright.download import download  # noqa: PLC0415 - hashing and HTTP

        checkpoint = self.find_checkpoint(identifier)
        place = Path(target or ".")
        if place.is_dir():
            place /= f"{checkpoint['id']}.safetensors"
        return download(self._transport, checkpoint, place, progress=progress or _silent, retries=self._retries)

    def load(self, identifier: str) -> nn.Module:
        """Return a trained model: built here from its definition, with its weights, in eval mode.

        Args:
            identifier: a checkpoint, or a job: then its newest checkpoint.

        Raises:
            NotFound: there is no such checkpoint, or the job has none yet.
            DownloadCorrupt: the bytes do not have the promised sha256.
            CannotLoad: torch or safetensors is not installed here.
        """
        checkpoint = self.find_checkpoint(identifier)
        sidecar = self._get(path("checkpoints", checkpoint["id"], "model"))
        with tempfile.TemporaryDirectory(prefix="modelwright-") as folder:
            return as_module(sidecar["definition"], self.download(checkpoint["id"], folder))


def _silent(have: int, total: int) -> None:
    """Report progress to nobody."""
