"""Runs a job with no service at all: a request is resolved here as the API would, and progress goes to the terminal.

Needs the ``worker`` extra (pydantic, scikit-learn); the trainer proper does not.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from pydantic import Field, ValidationError

from services.datasets.builtin import materialise
from services.datasets.catalog import get_builtin
from services.datasets.presentation import present
from services.definition import check
from services.errors import InvalidRequest, Problem
from services.training.model import Section
from services.training.problems import problems_from
from services.training.resolve import resolve
from services.training.resources import Resources, check_shares, check_sharing
from services.training.schema import CheckpointPolicy, DataSection, TrainingPlan

_NOT_FOR_HERE = ("model", "name", "priority", "labels", "max_runtime_seconds")


class _Sections(Section):
    data: DataSection
    training: TrainingPlan
    checkpoints: CheckpointPolicy = Field(default_factory=CheckpointPolicy)
    resources: Resources = Field(default_factory=Resources)


def job_from_request(request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the job file of a request (what one would POST to ``/v1/jobs``), to be trained in ``folder``.

    Raises:
        InvalidRequest: with every problem of the request.
    """
    definition = check(request.get("model"), pointer="/model")
    sections = _read_sections(request)
    problems = check_sharing(sections.training, sections.data, sections.resources.count)
    if problems:
        raise InvalidRequest(problems)
    shown = present(sections.data, get_builtin(sections.data.dataset), _no_columns)
    resolved = resolve(
        data=sections.data.model_copy(update={"target": shown.target}),
        training=sections.training,
        checkpoints=sections.checkpoints,
        dataset=shown.info,
        definition=definition,
    )
    resolved = shown.complete(resolved)
    if problems := check_shares(resolved["data"], sections.resources.count):
        raise InvalidRequest(problems)
    file = materialise(shown.info.name, folder / "cache")
    about = {"job_id": "local", "definition": definition.document, "resume": None, "output": str(folder)}
    resources = sections.resources.resolved()
    return {
        **about,
        **resolved,
        "data": {**resolved["data"], "file": str(file.path), "sha256": file.sha256},
        "device": resources["device"],
        "resources": resources,
        "max_runtime_seconds": request.get("max_runtime_seconds", 86_400),
    }


def _no_columns(names: Sequence[str]) -> NoReturn:
    detail = f"Column {names[0]!r} of a built-in data set cannot split its rows."
    raise InvalidRequest([Problem("conflict", detail, "/data/split", "Use the shares, or stratify.")])


def _read_sections(request: Mapping[str, Any]) -> _Sections:
    try:
        return _Sections.model_validate({k: v for k, v in request.items() if k not in _NOT_FOR_HERE})
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, _Sections)) from None


class Terminal:
    """A line to whoever sits there: one row of text an event. Keeps the newest ``keep`` checkpoints."""

    isolation: tuple[str, ...] = ()

    def __init__(self, stream: TextIO | None = None, *, keep: int = 3) -> None:
        self._stream = stream or sys.stderr
        self._keep = keep
        self._checkpoints: list[Path] = []

    def poll(self) -> list[dict[str, Any]]:
        """Return nothing: a terminal speaks in signals."""
        return []

    def emit(self, event: Mapping[str, Any]) -> None:
        """Show an event."""
        text = getattr(self, f"_{event['event']}")(event)
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _started(self, event: Mapping[str, Any]) -> str:
        environment, step = event["environment"], event["resumed_from_step"]
        resumed = f", resumed from step {step} ({event.get('resume')})" if step is not None else ""
        size = f"{environment['processes']} process(es) of {environment['threads']} thread(s)"
        return f"torch {environment['torch']} on {environment['device_name']}, {size}{resumed}"

    def _phase(self, event: Mapping[str, Any]) -> str:
        return f"— {event['phase'].replace('_', ' ')}"

    def _batch_size(self, event: Mapping[str, Any]) -> str:
        return f"— batch size {event['batch_size']}"

    def _warning(self, event: Mapping[str, Any]) -> str:
        return f"! {event['message']}"

    def _weights_loaded(self, event: Mapping[str, Any]) -> str:
        return f"— began with {event['tensors']} tensors of a checkpoint"

    def _metrics(self, event: Mapping[str, Any]) -> str:
        values = "  ".join(f"{name} {value:.4g}" for name, value in event["latest"].items())
        progress = f"epoch {event['epoch']}/{event['total_epochs']}  step {event['step']}/{event['total_steps']}"
        return f"{progress}  {event['steps_per_second']:.0f} steps/s  {values}"

    def _checkpoint(self, event: Mapping[str, Any]) -> str:
        self._checkpoints.append(Path(event["directory"]))
        while len(self._checkpoints) > self._keep:
            shutil.rmtree(self._checkpoints.pop(0), ignore_errors=True)
        return f"checkpoint {event['directory']}{' (final)' if event['final'] else ''}"

    def _finished(self, event: Mapping[str, Any]) -> str:
        reason = f" ({event['reason']})" if event["reason"] else ""
        return f"{event['outcome']}{reason} at step {event['step']}"

    def _failed(self, event: Mapping[str, Any]) -> str:
        error = event["error"]
        hint = f"\n{error['hint']}" if error["hint"] else ""
        return f"failed at step {event['step']}: {error['code']}: {error['message']}{hint}"
