"""Where a run's numbers come from: the request, rows of a data set, the weights of a checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from services.checkpoints import service as checkpoints
from services.config import Settings
from services.datasets.catalog import DatasetInfo, get_builtin
from services.datasets.rows import read_rows
from services.datasets.service import find_info
from services.datasets.split import split_rows
from services.db.engine import Database
from services.definition import Definition, check
from services.errors import InvalidRequest, NotFound, Problem
from services.graphs.inputs import Checked, check_inputs
from services.graphs.schema import RowsSection, Runnable, RunSection
from services.jobs.queries import get_job
from services.models.service import get_model
from services.training.binding import bind_inputs
from services.training.schema import DataSection

MAX_WEIGHT_BYTES = 2 << 30
MAX_ELEMENTS = 1 << 20
"""Numbers that the rows of a data set may have together."""


def find_definition(session: Session, *, tenant_id: str, subject: Runnable) -> tuple[Definition, str]:
    """Return what is run, checked, and where in the request its problems are.

    Raises:
        InvalidRequest: ``unknown_model``, ``unknown_checkpoint``, or the definition's own problems.
    """
    if subject.checkpoint is not None:
        return check(_trained(session, tenant_id, subject.checkpoint), pointer="/checkpoint"), "/checkpoint"
    model = subject.model
    if isinstance(model, str) and model.startswith("mdl_"):
        try:
            model = get_model(session, tenant_id=tenant_id, model_id=model).document
        except NotFound:
            detail = f"There is no model {str(subject.model)[:80]!r}."
            raise InvalidRequest([Problem("unknown_model", detail, "/model", "GET /v1/models lists yours.")]) from None
        except InvalidRequest as error:
            raise InvalidRequest([one.below("/model") for one in error.problems]) from None
    return check(model, pointer="/model"), "/model"


@contextmanager
def weights_file(
    database: Database, *, tenant_id: str, checkpoint_id: str | None, settings: Settings
) -> Iterator[str | None]:
    """Give the path of a checkpoint's weights, verified, for as long as a child reads them; None without one.

    Raises:
        InvalidRequest: ``model_too_large``.
        ChunkCorrupt: stored bytes are missing or changed.
    """
    if checkpoint_id is None:
        yield None
        return
    with database.read_session() as session:
        size = checkpoints.get_checkpoint(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)["size_bytes"]
    if size > MAX_WEIGHT_BYTES:
        detail = f"A graph is recorded from a real run; {size:,} bytes of weights are too many for it."
        raise InvalidRequest(
            [Problem("model_too_large", detail, "/checkpoint", f"At most {MAX_WEIGHT_BYTES:,} bytes.")]
        )
    root = settings.scratch_dir / "graphs"
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        path = Path(folder) / "weights.safetensors"
        content = checkpoints.iter_content(
            database, tenant_id=tenant_id, checkpoint_id=checkpoint_id, start=0, end=size
        )
        with path.open("wb") as file:
            file.writelines(content)
        yield str(path.resolve())


def find_inputs(
    session: Session, *, tenant_id: str, definition: Definition, run: RunSection, pointer: str = ""
) -> dict[str, Any]:
    """Return the members of a child's payload that say what a run is given: ``inputs``, or ``builtin`` rows.

    Raises:
        InvalidRequest: with every problem of the inputs or of the data; ``inputs_required`` when there are none.
    """
    if run.data is not None:
        return _rows(session, tenant_id, definition, run.data, f"{pointer}/data")
    if run.inputs is not None:
        return {"inputs": check_inputs(definition, run.inputs, pointer=f"{pointer}/inputs"), "builtin": None}
    _check_declared(definition, f"{pointer}/inputs")
    return {"inputs": None, "builtin": None}


def _trained(session: Session, tenant_id: str, checkpoint_id: str) -> dict[str, Any]:
    """Return the definition of the job that made a checkpoint."""
    try:
        checkpoint = checkpoints.get_checkpoint(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    except NotFound:
        detail = f"There is no checkpoint {checkpoint_id[:80]!r}."
        hint = "GET /v1/jobs/{id}/checkpoints lists those of a job."
        raise InvalidRequest([Problem("unknown_checkpoint", detail, "/checkpoint", hint)]) from None
    except InvalidRequest as error:
        raise InvalidRequest([one.below("/checkpoint") for one in error.problems]) from None
    job = get_job(session, tenant_id=tenant_id, job_id=checkpoint["job_id"])
    definition: dict[str, Any] = job["resolved"]["definition"]
    return definition


def _check_declared(definition: Definition, pointer: str) -> None:
    """Without inputs in the request, those of the document are sampled: they must have shapes."""
    missing = [one.name for one in definition.inputs if one.shape is None and not one.optional]
    if definition.inputs and not missing:
        return
    names = missing or list(definition.arguments)
    example = ", ".join(f'{{"name": "{name}", "dtype": "float32", "shape": ["B", 20]}}' for name in names)
    detail = f"The shape of {', '.join(names)} is not known, so nothing can be run."
    hint = f'Send "inputs" (POST /v1/graphs), or declare them in the definition: "inputs": [{example}].'
    raise InvalidRequest([Problem("inputs_required", detail, pointer, hint)])


def _rows(
    session: Session, tenant_id: str, definition: Definition, wanted: RowsSection, pointer: str
) -> dict[str, Any]:
    """Return the inputs that rows of a data set make."""
    info = find_info(session, tenant_id=tenant_id, name=wanted.dataset)
    dataset = info if info is not None else get_builtin(wanted.dataset, pointer=f"{pointer}/dataset")
    section = DataSection(dataset=wanted.dataset, inputs=wanted.inputs)
    bindings, problems = bind_inputs(section, dataset, definition.inputs)
    names = [one.name for one in definition.inputs] or list(definition.arguments)
    if not problems and len(bindings) > len(names):
        detail = f"The model has {len(names)} input(s) ({', '.join(names)}), but {len(bindings)} columns are given."
        problems.append(Problem("input_count_mismatch", detail, "/data/inputs", "Name as many columns."))
    rows, row_problems = _numbers(wanted, dataset, pointer)
    problems = [_moved(problem, pointer) for problem in problems] + row_problems
    columns = [binding["column"] for binding in bindings]
    if problems:
        raise InvalidRequest(problems)
    _check_elements(dataset, columns, len(rows), pointer)
    if info is None:
        return {
            "inputs": None,
            "builtin": {"name": dataset.name, "rows": rows, "columns": dict(zip(names, columns, strict=False))},
        }
    found = read_rows(session, tenant_id=tenant_id, dataset_id=wanted.dataset, columns=columns, rows=rows)
    inputs: Checked = {name: found[column] for name, column in zip(names, columns, strict=False)}
    return {"inputs": inputs, "builtin": None}


def _numbers(wanted: RowsSection, dataset: DatasetInfo, pointer: str) -> tuple[list[int], list[Problem]]:
    """Return the rows' numbers in the whole data set."""
    order: Sequence[int] | None = None
    if wanted.part is not None:
        split = wanted.split
        train = split.train if split.train is not None else 1.0 - split.validation - split.test
        order = split_rows(dataset.rows, {**split.model_dump(), "train": train})[wanted.part].tolist()
    have = dataset.rows if order is None else len(order)
    where = f"Part {wanted.part!r}" if wanted.part else f"Data set {dataset.name!r}"
    problems = [
        Problem("out_of_range", f"{where} has {have} rows, numbered from 0; {row} is none of them.",
                f"{pointer}/rows/{index}")
        for index, row in enumerate(wanted.rows)
        if row >= have
    ]  # fmt: skip
    return [row if order is None else order[row] for row in wanted.rows if row < have], problems


def _check_elements(dataset: DatasetInfo, columns: Sequence[str], rows: int, pointer: str) -> None:
    total = 0
    for name in columns:
        size = 1
        for extent in dataset.columns[name].shape:
            size *= extent
        total += rows * size
    if total > MAX_ELEMENTS:
        detail = f"{rows} rows are {total:,} numbers; at most {MAX_ELEMENTS:,} are taken."
        raise InvalidRequest([Problem("out_of_range", detail, f"{pointer}/rows", "Name fewer rows.")])


def _moved(problem: Problem, pointer: str) -> Problem:
    """Problems of a binding point into a job's ``/data``."""
    if not problem.pointer.startswith("/data"):
        return problem
    where = pointer + problem.pointer.removeprefix("/data")
    return Problem(problem.code, problem.detail, where, problem.hint, problem.column)
