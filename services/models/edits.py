"""Editing a model: operations by path make a new model, and a report says which weights carry over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from services.checkpoints.service import tensor_shapes
from services.db.models import Model
from services.definition import check
from services.definition.edit import edit
from services.definition.edit_report import Edited
from services.errors import InvalidRequest, NotFound, Problem
from services.models.service import create_model, get_model
from services.preflight import Preflight
from services.training.model import Section
from services.training.problems import problems_from

MAX_OPERATIONS = 100


class EditRequest(Section):
    """Operations on layers, applied in order; ``path`` is that of `named_modules`, `""` the model itself."""

    operations: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_OPERATIONS)] = Field(
        description="`{op: add | remove | replace | rename | freeze | unfreeze, path, module?, name?, at?}`"
    )
    checkpoint: str | None = Field(
        None, description="A checkpoint of the old model: the report then names its tensors."
    )


def edit_model(
    session: Session, *, tenant_id: str, model_id: str, body: dict[str, Any], preflight: Preflight
) -> dict[str, Any]:
    """Apply operations to a model and keep the result as a model of its own.

    Returns:
        The new model's view under ``model``, and ``weights``: modules that ``carried`` over (new path → old path), are
        ``new`` or were ``dropped``; with a checkpoint also its tensors that ``carried_tensors`` and that do not.

    Raises:
        NotFound: the tenant has no such model.
        InvalidRequest: with the operation that cannot be made, or what is wrong with the result.
        Unavailable: the result could not be checked right now.
    """
    request = _read(body)
    old = get_model(session, tenant_id=tenant_id, model_id=model_id)
    edited = edit(check(old.document), request.operations, pointer="/operations")
    posted = create_model(session, tenant_id=tenant_id, document=edited.definition.document, preflight=preflight)
    weights: dict[str, Any] = {"carried": edited.carried, "new": edited.new, "dropped": edited.dropped}
    if request.checkpoint is not None:
        weights |= _tensors(session, tenant_id, old, request.checkpoint, edited)
    return {"object": "edit", "model": posted.model, "from": old.id, "weights": weights}


def _read(body: dict[str, Any]) -> EditRequest:
    try:
        return EditRequest.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, EditRequest)) from None


def _tensors(session: Session, tenant_id: str, old: Model, checkpoint_id: str, edited: Edited) -> dict[str, Any]:
    """Return which tensors of the checkpoint carry over, under their new names, and which do not."""
    try:
        sha256, shapes = tensor_shapes(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    except NotFound:
        raise _wrong_checkpoint("unknown_checkpoint", f"There is no checkpoint {checkpoint_id[:80]!r}.") from None
    if sha256 != old.sha256:
        raise _wrong_checkpoint("checkpoint_mismatch", "This checkpoint belongs to a job with another model.")
    carried = dict(_carried_names(shapes, edited))
    return {"carried_tensors": carried, "left_tensors": sorted(shapes.keys() - set(carried.values()))}


def _carried_names(names: Iterable[str], edited: Edited) -> Iterable[tuple[str, str]]:
    """Yield (new name, old name) of the tensors whose module carries over."""
    new_path = {old: new for new, old in edited.carried.items()}
    for name in names:
        owner, _, tensor = name.rpartition(".")
        if owner in new_path:
            yield f"{new_path[owner]}.{tensor}".lstrip("."), name


def _wrong_checkpoint(code: str, detail: str) -> InvalidRequest:
    return InvalidRequest([Problem(code, detail, "/checkpoint", "Name a checkpoint of a job that trained this model.")])
