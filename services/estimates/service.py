"""How long a job will take: a range from past jobs or from a probe, and how wrong such ranges have been."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from services.estimates import history
from services.estimates.history import Timing
from services.estimates.model import fit, overhead, similar, spread
from services.estimates.work import Work, work_of
from services.preflight import Preflight
from services.training.memory import row_bytes
from services.training.resolve import preflight_inputs

PROBE = "services.modules.probe:run"
PROBE_SECONDS = 8.0
"""After so long a probe is given up; it means to take two at most."""
MAX_PROBE_BYTES = 1 << 30
"""Of the model with its gradients and its optimizer, and of the batches beside it: it runs where the API does."""
SMALLEST_BATCH = 8


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be estimated: a plan with nothing left open, and what the preflight found."""

    tenant_id: str
    definition_sha256: str
    resolved: Mapping[str, Any]
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Found:
    """Seconds, from what, and from how many jobs or steps."""

    seconds: float
    basis: str
    samples: int
    beyond: bool = False


def estimate(session: Session, subject: Subject, *, preflight: Preflight, may_probe: bool) -> dict[str, Any]:
    """Return a range of seconds from a job's start to its end; waiting in the queue is not in it.

    From the tenant's past jobs of the same model with the same batch size; else, for a CPU, from a probe: one that was
    made before, or a new one if it ``may_probe``; else from past jobs that are similar. Each member is None where
    nothing is known, and ``detail`` says why.
    """
    work = work_of(subject.resolved, operations_per_sample=subject.report["operations_per_sample"])
    if work is None:
        return _unknown(None, "The plan leaves its batch size open; the trainer finds one.")
    own = history.own(session, tenant_id=subject.tenant_id, definition_sha256=subject.definition_sha256)
    device = _device(subject.resolved["resources"]["device"], own, preflight.settings.devices)
    own = [one for one in own if one.device == device and one.setup == work.setup]
    found = _from_past(own, work)
    unfit = _unfit(subject, work, device)
    if found is None and unfit is None:
        found = _from_probe(subject, own, work, preflight, may_probe=may_probe)
    found = found or _from_similar(session, own, work, device)
    if found is None:
        probe = "A probe did not come to an end." if may_probe else "Validate the request, and a probe is made."
        return _unknown(device, f"No similar job has ended on {device} yet. {unfit or probe}")
    error = history.error(session, device=device, basis=found.basis)
    return _told(found, device, error, subject.resolved["max_runtime_seconds"])


def _unfit(subject: Subject, work: Work, device: str) -> str | None:
    """Return why no probe can tell about a plan; None if one can."""
    if device != "cpu":
        return "A probe runs on the CPU and cannot tell."
    if work.setup["execution"] == "static":
        return "A probe does not capture graphs."
    if "processes" in work.setup:
        return "A probe runs in one process."
    memory = subject.report["memory_bytes"]
    held = sum(memory[part] for part in ("weights", "buffers", "gradients", "optimizer"))
    if held + min(work.batch_size, SMALLEST_BATCH) * _sample_bytes(subject) > MAX_PROBE_BYTES:
        return "The model is too large for a probe."
    return None


def _sample_bytes(subject: Subject) -> int:
    activations = subject.report["memory_bytes"]["activations_per_sample"]
    return int(activations) + 2 * row_bytes(subject.resolved["data"]["columns"])


def _device(asked: str, own: list[Timing], offered: tuple[str, ...]) -> str:
    """Return where a job will run: where it says, else where the same model ran last, else on the best there is."""
    if asked != "auto":
        return asked
    return own[0].device if own else offered[0]


def _from_past(own: list[Timing], work: Work) -> _Found | None:
    same = [one for one in own if one.batch_size == work.batch_size]
    if not same:
        return None
    line = fit(same)
    seconds = overhead(same) + line.seconds(work.batches)
    return _Found(seconds, "past_jobs", len(same), beyond=work.batches > 2 * line.longest)


def _from_probe(
    subject: Subject, own: list[Timing], work: Work, preflight: Preflight, *, may_probe: bool
) -> _Found | None:
    payload = _payload(subject, work)
    report = preflight.measured(PROBE, payload)
    if report is None and may_probe:
        report = preflight.measure(PROBE, payload, seconds=PROBE_SECONDS)
    if report is None or "failed" in report:
        return None
    seconds = work.train_batches * report["step_seconds"] + work.evaluation_batches * report["forward_seconds"]
    return _Found(overhead(own) + seconds, "probe", report["steps"])


def _from_similar(session: Session, own: list[Timing], work: Work, device: str) -> _Found | None:
    """Return what other batch sizes of the same model suggest, else what models with about as many operations do."""
    jobs, batches = own, similar(own, work, by_batch=True)
    if not batches:
        jobs = history.alike(session, device=device, setup=json.dumps(work.setup))
        batches = similar(jobs, work, by_batch=False)
    if not batches:
        return None
    return _Found(overhead(jobs) + statistics.median(batches) * work.batches, "similar_jobs", len(batches))


def _payload(subject: Subject, work: Work) -> dict[str, Any]:
    data, training = subject.resolved["data"], subject.resolved["training"]
    plan = {name: training[name] for name in ("loss", "optimizer", "precision", "reproducible", "freeze")}
    return {
        "document": subject.resolved["definition"],
        "inputs": preflight_inputs(dict(subject.resolved)),
        "names": data["names"],
        "columns": data["columns"],
        "batch_size": work.batch_size,
        "sample_bytes": _sample_bytes(subject),
        "max_bytes": MAX_PROBE_BYTES,
        "smallest_batch": SMALLEST_BATCH,
        **plan,
    }


def _told(found: _Found, device: str, error: dict[str, Any] | None, limit: float) -> dict[str, Any]:
    low, high = spread(found.seconds, found.basis, error, beyond=found.beyond)
    low, likely, high = (_round(min(seconds, limit)) for seconds in (low, found.seconds, high))
    return {
        "device": device,
        "basis": found.basis,
        "low_seconds": low,
        "likely_seconds": likely,
        "high_seconds": high,
        "samples": found.samples,
        "detail": None,
        "estimate_error": error,
    }


def _unknown(device: str | None, why: str) -> dict[str, Any]:
    nothing = ("basis", "low_seconds", "likely_seconds", "high_seconds")
    return {"device": device, **dict.fromkeys(nothing), "samples": 0, "detail": why, "estimate_error": None}


def _round(seconds: float) -> float:
    """Three digits say all that is known."""
    return float(f"{seconds:.3g}")
