"""What a client can do with checkpoints."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright.errors import NotFound
from modelwright.live import as_module
from modelwright.requests import Moment, Requests, Tagged, filters, path

if TYPE_CHECKING:
    from torch import nn

    from modelwright.download import Progress
    from modelwright.transport import RetryPolicy

Json = dict[str, Any]


class CheckpointCalls(Requests):
    """The methods that find, download and load checkpoints."""

    _retries: RetryPolicy

    def checkpoints(
        self, job_id: str, *, created_after: Moment | None = None, limit: int | None = None
    ) -> Iterator[Json]:
        """Yield a job's checkpoints, newest first."""
        return self._pages(path("jobs", job_id, "checkpoints"), filters(created_after=created_after), limit)

    def get_checkpoint(self, checkpoint_id: str) -> Tagged:
        """Return a checkpoint: step, metrics, sha256, size."""
        return self._look(path("checkpoints", checkpoint_id))

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

    def export(
        self, identifier: str, format: str, target: str | Path | None = None, *, progress: Progress | None = None
    ) -> Json:
        """Convert a checkpoint, download the file, and return how exact it is, with its place under ``path``.

        Args:
            identifier: a checkpoint, or a job: then its newest checkpoint.
            format: ``torch`` (a ``state_dict``), ``onnx`` or ``torch-export``.
            target: a file, or an existing folder; by default the service's name for it, here.
            progress: as for `download`.

        Raises:
            NotFound, DownloadCorrupt: as `download`.
            InvalidRequest: the model cannot be said in that format; ``problems`` says why.
        """
        from modelwright.download import download  # noqa: PLC0415 - hashing and HTTP

        checkpoint = self.find_checkpoint(identifier)
        report = self._get(path("checkpoints", checkpoint["id"], "exports", format))
        place = Path(target or ".")
        if place.is_dir():
            place /= report["file_name"]
        wanted = {**report, "id": checkpoint["id"]}
        made = download(self._transport, wanted, place, progress=progress or _silent, retries=self._retries)
        return {**report, "path": str(made)}

    def checkpoint_model(self, identifier: str) -> Json:
        """Return all that rebuilds a trained model beside its weights: definition, source, inputs, preparation.

        Raises:
            NotFound: there is no such checkpoint, or the job has none yet.
        """
        return self._get(path("checkpoints", self.find_checkpoint(identifier)["id"], "model"))

    def pin_checkpoint(self, checkpoint_id: str, *, pinned: bool = True, if_match: str | None = None) -> Tagged:
        """Keep a checkpoint whatever comes after it, or no longer, and return it.

        With ``if_match``, its ``etag``, only as it was looked at.

        Raises:
            NotFound: there is no such checkpoint.
            PreconditionFailed: it has changed.
        """
        return self._patch(path("checkpoints", checkpoint_id), {"pinned": pinned}, if_match)

    def delete_checkpoint(self, checkpoint_id: str, *, if_match: str | None = None) -> None:
        """Delete a checkpoint, pinned or not; with ``if_match``, its ``etag``, only as it was looked at.

        Raises:
            NotFound: there is no such checkpoint.
            StateConflict: a job that has not ended would go on from it.
            PreconditionFailed: it has changed.
        """
        self._transport.delete(path("checkpoints", checkpoint_id), if_match=if_match)

    def load(self, identifier: str) -> nn.Module:
        """Return a trained model: built here from its definition, with its weights, in eval mode.

        Args:
            identifier: a checkpoint, or a job: then its newest checkpoint.

        Raises:
            NotFound: there is no such checkpoint, or the job has none yet.
            DownloadCorrupt: the bytes do not have the promised sha256.
            CannotLoad: torch or safetensors is not installed here.
        """
        sidecar = self.checkpoint_model(identifier)
        with tempfile.TemporaryDirectory(prefix="modelwright-") as folder:
            return as_module(sidecar["definition"], self.download(sidecar["checkpoint_id"], folder))


def _silent(have: int, total: int) -> None:
    """Report progress to nobody."""
