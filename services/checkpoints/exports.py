"""Checkpoints in the formats of others: made once by a sandboxed child, kept on this machine's disk for later."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from services.checkpoints import service
from services.config import Settings
from services.db.engine import Database
from services.definition import check
from services.errors import InvalidRequest, Problem
from services.jobs.queries import get_job
from services.preflight import Preflight

TARGET = "services.modules.export:run"
Format = Literal["torch", "onnx", "torch-export"]
SUFFIXES: dict[Format, str] = {"torch": "pt", "onnx": "onnx", "torch-export": "pt2"}
MAX_WEIGHT_BYTES = 1 << 30
MAX_KEPT = 64
"""Files that are kept; the one that nobody asked for the longest goes first."""
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Export:
    """A file, and what is known of it: format, sha256, size, the difference to eager."""

    path: Path
    report: dict[str, Any]


def make_export(
    database: Database,
    *,
    tenant_id: str,
    checkpoint_id: str,
    format: Format,
    preflight: Preflight,
    settings: Settings,
) -> Export:
    """Return a checkpoint as ``torch``, ``onnx`` or ``torch-export``: the kept file, or a new one.

    Raises:
        NotFound: the tenant has no such checkpoint.
        InvalidRequest: ``not_exportable``, with the exporter's reason; ``model_too_large``.
        Unavailable: no child could be had.
        ChunkCorrupt: stored bytes are missing or changed.
    """
    with database.read_session() as session:
        checkpoint = service.get_checkpoint(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
        resolved = get_job(session, tenant_id=tenant_id, job_id=checkpoint["job_id"])["resolved"]
    kept = _kept(settings, checkpoint_id, format)
    if kept is not None:
        return kept
    if checkpoint["size_bytes"] > MAX_WEIGHT_BYTES:
        detail = f"{checkpoint['size_bytes']:,} bytes of weights are too many for a conversion."
        hint = f"At most {MAX_WEIGHT_BYTES:,} bytes; safetensors can always be downloaded."
        raise InvalidRequest([Problem("model_too_large", detail, "/format", hint)])
    settings.exports_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.exports_dir, prefix=".making-") as name:
        folder = Path(name).resolve()
        weights, made = folder / "weights.safetensors", folder / "made"
        with weights.open("wb") as file:
            file.writelines(
                service.iter_content(
                    database,
                    tenant_id=tenant_id,
                    checkpoint_id=checkpoint_id,
                    start=0,
                    end=checkpoint["size_bytes"],
                )
            )
        payload = {
            "document": resolved["definition"],
            "weights": str(weights),
            "format": format,
            "path": str(made),
            "inputs": _inputs(resolved),
        }
        report = preflight.visit(
            TARGET, payload, pointer="/format", seconds=settings.export_timeout_seconds, directory=folder
        )
        return _keep(settings, checkpoint_id, format, made, report)


def describe_model(database: Database, *, tenant_id: str, checkpoint_id: str, preflight: Preflight) -> dict[str, Any]:
    """Return all that rebuilds the trained model beside its weights: the JSON sidecar of a download.

    Raises:
        NotFound: the tenant has no such checkpoint.
        Unavailable: no child could be had to write the source.
    """
    with database.read_session() as session:
        checkpoint = service.get_checkpoint(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
        resolved = get_job(session, tenant_id=tenant_id, job_id=checkpoint["job_id"])["resolved"]
        fitted = service.read_preprocessing(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    definition = check(resolved["definition"])
    return {
        "object": "checkpoint_model",
        "checkpoint_id": checkpoint_id,
        "job_id": checkpoint["job_id"],
        "step": checkpoint["step"],
        "definition": resolved["definition"],
        "definition_sha256": definition.sha256,
        "source": preflight.portray(definition)["source"],
        "inputs": _inputs(resolved),
        "data": {**resolved["data"], "fitted": fitted},
        "weights": {name: checkpoint[name] for name in ("sha256", "size_bytes")} | {"format": "safetensors"},
        "links": checkpoint["links"],
    }


def iter_file(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield a file's bytes from ``start`` (inclusive) to ``end`` (exclusive)."""
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (data := file.read(min(_READ_BYTES, end - start))):
            start += len(data)
            yield data


def _inputs(resolved: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return dtype, shape with the free batch first, and number of classes of what the model is called with."""
    columns, found = resolved["data"]["columns"], {}
    for binding in resolved["data"]["bindings"]:
        column = columns.get(binding["column"])
        if column is not None:
            known = {"dtype": column["dtype"], "shape": ["B", *column["shape"]], "classes": column.get("classes")}
            found[binding["input"] or binding["column"]] = known
    return found


def _kept(settings: Settings, checkpoint_id: str, format: Format) -> Export | None:
    path, about = _places(settings, checkpoint_id, format)
    try:
        report = json.loads(about.read_text(encoding="utf-8"))
        if path.stat().st_size != report["size_bytes"]:
            return None
        about.touch()
    except (OSError, ValueError, KeyError):
        return None
    return Export(path, report)


def _keep(settings: Settings, checkpoint_id: str, format: Format, made: Path, report: dict[str, Any]) -> Export:
    """Give the file its name; its description comes last, so that what is described is whole."""
    path, about = _places(settings, checkpoint_id, format)
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    content = f"/v1/checkpoints/{checkpoint_id}/content?format={format}"
    full = {
        "object": "checkpoint_export",
        "checkpoint_id": checkpoint_id,
        **report,
        "file_name": f"{checkpoint_id}.{SUFFIXES[format]}",
        "size_bytes": made.stat().st_size,
        "sha256": digest,
        "links": {"content": content, "checkpoint": f"/v1/checkpoints/{checkpoint_id}"},
    }
    described = made.with_suffix(".json")
    described.write_text(json.dumps(full), encoding="utf-8")
    made.replace(path)
    described.replace(about)
    _forget_oldest(settings)
    return Export(path, full)


def _places(settings: Settings, checkpoint_id: str, format: Format) -> tuple[Path, Path]:
    path = settings.exports_dir / f"{checkpoint_id}.{SUFFIXES[format]}"
    return path, path.with_name(f"{path.name}.json")


def _forget_oldest(settings: Settings) -> None:
    """Keep the newest; who reads one that goes keeps its open file."""
    described = sorted(settings.exports_dir.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for about in described[MAX_KEPT:]:
        with suppress(OSError):
            about.unlink()
            about.with_suffix("").unlink()
