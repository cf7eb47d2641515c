"""From a request to what will run: every check that can be made before a job is queued."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from services.datasets.catalog import DatasetInfo, get_builtin
from services.datasets.presentation import ReadColumns, present
from services.datasets.soundness import check_values
from services.definition import Definition
from services.definition.recall import recall
from services.errors import InvalidRequest, NotFound, Problem
from services.jobs.schema import JobRequest
from services.preflight import Preflight
from services.training.fit import check_fit
from services.training.memory import row_bytes, training_memory
from services.training.plan_checks import check_device
from services.training.problems import problems_from
from services.training.resolve import preflight_inputs, preflight_objective, resolve
from services.training.resources import check_gradients, check_shares, check_sharing, device_class
from services.training.selection import check_selection
from services.training.start import InitFrom, match_weights


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that can run: ``resolved`` leaves nothing open, ``report`` is what the preflight found."""

    request: JobRequest
    definition_sha256: str
    resolved: dict[str, Any]
    report: dict[str, Any]

    @property
    def device(self) -> str:
        """What a worker must offer to claim the job."""
        return device_class(self.resolved["resources"])


FindDocument = Callable[[str], dict[str, Any]]
"""Returns the document of a model by its id, or raises `NotFound`."""
FindWeights = Callable[[str], Mapping[str, Sequence[int]]]
"""Returns name and shape of each tensor of a checkpoint by its id, or raises `NotFound`."""


class Datasets(Protocol):
    """The data sets of whoever sends the request."""

    def find(self, name: str) -> DatasetInfo | None:
        """Return an own one by its id, None for any other name; raises `InvalidRequest` where it is of no use."""

    def reader(self, name: str) -> ReadColumns:
        """Return what reads its columns."""


def make_plan(
    body: dict[str, Any],
    *,
    preflight: Preflight,
    find_document: FindDocument,
    find_weights: FindWeights,
    datasets: Datasets,
) -> Plan:
    """Check a request and fill in what it leaves open.

    Raises:
        InvalidRequest: with every problem that can be found at once: those of the request and of the definition
            together, then those of their fit, then those of the shapes, then those of the values.
        Unavailable: the definition could not be built for a check right now.
    """
    request, definition = _read(body, find_document)
    name = request.data.dataset
    shown = present(request.data, datasets.find(name) or get_builtin(name), datasets.reader(name))
    sections = resolve(
        data=request.data.model_copy(update={"target": shown.target}),
        training=request.training,
        checkpoints=request.checkpoints,
        dataset=shown.info,
        definition=definition,
    )
    sections = shown.complete(sections)
    if problems := check_shares(sections["data"], request.resources.count):
        raise InvalidRequest(problems)
    report = preflight.check(
        definition, preflight_inputs(sections), objective=preflight_objective(sections), pointer="/model"
    )
    tensors = report.pop("tensors")
    if problems := check_gradients(tensors, request.resources.count):
        raise InvalidRequest(problems)
    check_fit(sections, report)
    classes = (report.get("objective") or {}).get("classes")
    if problems := check_values(shown, sections, classes, datasets.reader(name)):
        raise InvalidRequest(problems)
    # Not asked of the child: it depends on numbers that a sweep changes, and the report is remembered without them.
    memory = training_memory(
        report["memory_bytes"],
        training=sections["training"],
        batch_size=request.data.batch_size or 1,
        row_bytes=row_bytes(sections["data"]["columns"]),
    )
    check_selection(sections["training"], tensors)
    resolved = {
        "definition": definition.document,
        **sections,
        "init_from": _start(request.init_from, tensors, find_weights),
        "resources": request.resources.resolved(),
        "max_runtime_seconds": request.max_runtime_seconds,
    }
    return Plan(request, definition.sha256, resolved, {**report, "memory_bytes": memory})


def _read(body: dict[str, Any], find_document: FindDocument) -> tuple[JobRequest, Definition]:
    """Return the request and its definition; raise with the problems of both."""
    problems: list[Problem] = []
    request = definition = None
    try:
        request = JobRequest.model_validate(body)
    except ValidationError as error:
        problems += problems_from(error, JobRequest)
    if isinstance(body.get("model"), dict | str):
        try:
            definition = recall(_document(body["model"], find_document), pointer="/model")
        except InvalidRequest as error:
            problems += error.problems
    if request is not None:
        problems += check_device(request.training, request.resources.device)
        problems += check_sharing(request.training, request.data, request.resources.count)
    if problems or request is None or definition is None:
        raise InvalidRequest(problems)
    return request, definition


def _document(model: dict[str, Any] | str, find_document: FindDocument) -> dict[str, Any] | str:
    """Return what is to be checked: the member itself, or the document of the model that it names."""
    if not isinstance(model, str) or not model.startswith("mdl_"):
        return model
    try:
        return find_document(model)
    except NotFound:
        problem = Problem(
            "unknown_model", f"There is no model {model[:80]!r}.", "/model", "GET /v1/models lists yours."
        )
        raise InvalidRequest([problem]) from None


def _start(
    section: InitFrom | None, tensors: Sequence[Mapping[str, Any]], find_weights: FindWeights
) -> dict[str, Any] | None:
    if section is None:
        return None
    try:
        weights = find_weights(section.checkpoint)
    except NotFound:
        detail = f"There is no checkpoint {section.checkpoint[:80]!r}."
        hint = "GET /v1/jobs/{id}/checkpoints lists those of a job."
        raise InvalidRequest([Problem("unknown_checkpoint", detail, "/init_from/checkpoint", hint)]) from None
    except InvalidRequest as error:
        raise InvalidRequest([problem.below("/init_from/checkpoint") for problem in error.problems]) from None
    return match_weights(section, tensors, weights)
