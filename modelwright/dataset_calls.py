"""What a client can do with data sets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright.requests import Moment, Requests, Tagged, filters, path

if TYPE_CHECKING:
    from modelwright.download import Progress

Json = dict[str, Any]
_LOOK_SECONDS = 0.5

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".parquet": "parquet",
    ".zip": "images",
    ".txt": "text",
    ".md": "text",
}
"""What a file is taken for by its suffix."""


class DatasetCalls(Requests):
    """The methods for ``/v1/datasets``."""

    def upload_dataset(
        self,
        file: str | Path,
        *,
        format: str | None = None,
        name: str | None = None,
        target: str | None = None,
        inputs: Sequence[str] | None = None,
        options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Json:
        """Upload a file and return the data set, ready to be trained on.

        A call that was cut, even by a kill, is continued by the next one with the same file: what has arrived is not
        sent again. The same file twice is one data set.

        Args:
            file: CSV, .npy, .npz, safetensors, Parquet, plain text, or a zipped folder of images.
            format: what it is, where its suffix does not say.
            name: for people; by default the file's own.
            target: the column to predict when a job does not say.
            inputs: columns that a model sees when a job does not say.
            options: how to read it, for example ``{"delimiter": ";"}`` or ``{"size": [32, 32]}``.
            progress: called with the bytes that have arrived and all bytes.

        Raises:
            InvalidRequest: the file cannot be read; ``problems`` says where and why.
            ConnectionFailed: no answer, after all retries; call again to go on.
            OSError: the file cannot be opened.
        """
        from modelwright.upload import upload  # noqa: PLC0415 - hashing and HTTP, which `import modelwright` can spare

        place = Path(file)
        kind = format or FORMATS.get(place.suffix.lower(), place.suffix.lower().lstrip(".") or "unknown")
        how = {"delimiter": "\t"} if place.suffix.lower() == ".tsv" and not options else dict(options or {})
        request: Json = {"name": name or place.name, "format": kind, **({kind: how} if how else {})}
        request |= {"target": target} if target else {}
        request |= {"inputs": list(inputs)} if inputs else {}
        return upload(self._transport, place, request, progress=progress or _silent)

    def fetch_dataset(
        self,
        url: str,
        *,
        format: str,
        name: str | None = None,
        target: str | None = None,
        options: Mapping[str, Any] | None = None,
        sha256: str | None = None,
        wait_seconds: float = 300.0,
    ) -> Json:
        """Let the service fetch a file from an https address, or ``s3://bucket/key``, and return the data set.

        It is ``ready`` or ``failed`` then, with its ``problems``; after ``wait_seconds`` it is returned as it is,
        ``fetching``: look again with `get_dataset`. The operator names the hosts and buckets that are allowed; by
        default there are none.

        Raises:
            InvalidRequest: ``url_not_allowed``: nothing was sent there; ``source_not_found``, ``source_access_denied``.
        """
        request: Json = {"url": url, "format": format, **({format: dict(options)} if options else {})}
        given = {"name": name, "target": target, "sha256": sha256}
        request |= {key: value for key, value in given.items() if value is not None}
        dataset = self._post("/v1/datasets", request, None)
        deadline = time.monotonic() + wait_seconds
        while dataset["state"] in ("fetching", "preparing") and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            dataset = self.get_dataset(dataset["id"])
        return dataset

    def create_dataset(
        self,
        columns: Mapping[str, Sequence[Any]] | None = None,
        *,
        rows: Sequence[Mapping[str, Any]] | None = None,
        name: str | None = None,
        target: str | None = None,
    ) -> Json:
        """Make a tiny data set of values: ``columns={"x": [[…], …], "y": […]}`` or ``rows=[{…}, …]``.

        Raises:
            InvalidRequest: the values do not make a table; ``problems`` says where.
        """
        given = {"columns": columns, "rows": rows, "name": name, "target": target}
        return self._post("/v1/datasets", {key: value for key, value in given.items() if value is not None}, None)

    def datasets(
        self,
        *,
        owner: str | None = None,
        states: Sequence[str] = (),
        created_after: Moment | None = None,
        limit: int | None = None,
    ) -> Iterator[Json]:
        """Yield data sets: yours, newest first, then those that come with the service; ``owner`` is own or builtin."""
        return self._pages("/v1/datasets", filters(owner=owner, status=states, created_after=created_after), limit)

    def get_dataset(self, dataset_id: str) -> Tagged:
        """Return a data set: state, rows, columns.

        Raises:
            NotFound: you have no such data set.
        """
        return self._look(path("datasets", dataset_id))

    def preview_dataset(self, dataset_id: str, *, rows: int = 10) -> Json:
        """Return the first rows, and statistics of each column.

        Raises:
            NotFound: you have no such data set.
            StateConflict: it is not ready.
        """
        return self._get(path("datasets", dataset_id, "preview"), [("rows", rows)])

    def delete_dataset(self, dataset_id: str, *, if_match: str | None = None) -> None:
        """Delete a data set, or an upload that is under way; with ``if_match``, its ``etag``, only as it was looked at.

        Raises:
            NotFound: you have no such data set.
            StateConflict: a job that has not ended trains on it.
            PreconditionFailed: it has changed.
        """
        self._transport.delete(path("datasets", dataset_id), if_match=if_match)


def _silent(have: int, total: int) -> None:
    """Report progress to nobody."""
