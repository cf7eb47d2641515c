"""The public forms of data sets."""

from __future__ import annotations

from typing import Any

from services.datasets.catalog import DatasetInfo
from services.db.dataset_models import Dataset, DatasetPart
from services.pages import timestamp


def brief_view(dataset: Dataset) -> dict[str, Any]:
    """Return the view for a list: how many classes a column has, but not their names."""
    whole = view(dataset)
    return {**whole, "columns": whole["columns"] and {name: _brief(one) for name, one in whole["columns"].items()}}


def view(dataset: Dataset) -> dict[str, Any]:
    """Return what ``GET /v1/datasets/{id}`` answers for a tenant's own data set."""
    info = dataset.info or {}
    return {
        "id": dataset.id,
        "object": "dataset",
        "name": dataset.name,
        "owner": "own",
        "state": dataset.state,
        "format": dataset.format,
        "options": dataset.options,
        "rows": info.get("rows"),
        "columns": info.get("columns"),
        "default_inputs": info.get("default_inputs"),
        "default_target": info.get("default_target"),
        "licence": None,
        "source": None,
        "problems": dataset.problems,
        "fetch": _fetch(dataset.remote),
        "source_sha256": dataset.source_sha256,
        "source_size_bytes": dataset.source_size_bytes,
        "sha256": dataset.sha256,
        "size_bytes": dataset.size_bytes,
        "created_at": timestamp(dataset.created_at),
        "updated_at": timestamp(dataset.updated_at),
        "links": _links(dataset.id),
    }


def builtin_view(info: DatasetInfo) -> dict[str, Any]:
    """Return the same for a built-in one: its name is its id."""
    base = f"/v1/datasets/{info.name}"
    nothing = ("fetch", "source_sha256", "source_size_bytes", "sha256", "size_bytes", "created_at", "updated_at")
    return {
        "id": info.name,
        "object": "dataset",
        "owner": "builtin",
        "state": "ready",
        "format": "builtin",
        "options": {},
        "problems": [],
        **dict.fromkeys(nothing),
        **info.to_dict(),
        "links": {"self": base, "preview": f"{base}/preview"},
    }


def part_view(part: DatasetPart) -> dict[str, Any]:
    """Return the public form of one part of an upload."""
    return {
        "object": "dataset_part",
        "number": part.number,
        "size_bytes": part.size_bytes,
        "sha256": part.sha256,
    }


def _brief(column: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in column.items() if name != "class_names"}


def _fetch(remote: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return how the fetching of a file goes, or went."""
    if remote is None:
        return None
    return {name: remote[name] for name in ("url", "version", "received_bytes", "size_bytes", "tries", "error")}


def _links(dataset_id: str) -> dict[str, str]:
    base = f"/v1/datasets/{dataset_id}"
    return {
        "self": base,
        "parts": f"{base}/parts",
        "complete": f"{base}/complete",
        "preview": f"{base}/preview",
    }
