"""Models as clients see them: post, validate, list, look, and the forms that are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from services.config import Settings
from services.db.clock import new_row_id
from services.db.models import Model
from services.definition import Definition, check
from services.errors import NotFound
from services.identifiers import check_id
from services.limits import quotas
from services.models import repository
from services.pages import Page, id_cursor, timestamp
from services.preflight import Preflight


@dataclass(frozen=True, slots=True)
class Posted:
    """The answer to a post: the model, and whether it is new."""

    model: dict[str, Any]
    created: bool


def create_model(session: Session, *, tenant_id: str, document: Mapping[str, Any], preflight: Preflight) -> Posted:
    """Check a document and keep it; the same content is the same model.

    Raises:
        InvalidRequest: with every problem of the document.
        QuotaExceeded: the tenant keeps too many.
        Unavailable: it could not be checked right now.
    """
    definition = check(document)
    known = repository.find_by_content(session, tenant_id=tenant_id, sha256=definition.sha256)
    if known is not None:
        return Posted(view(known), created=False)
    row = {"id": new_row_id(session, "mdl"), "tenant_id": tenant_id, **_portrayed(definition, preflight)}
    _check_quota(session, tenant_id, row["report"], preflight.settings)
    created = repository.insert_unless_there(session, row)
    kept = repository.find_by_content(session, tenant_id=tenant_id, sha256=definition.sha256)
    if kept is None:
        raise NotFound()
    return Posted(view(kept), created=created)


def validate_model(*, document: Mapping[str, Any], preflight: Preflight) -> dict[str, Any]:
    """Check a document as `create_model` does, and keep nothing.

    Raises:
        InvalidRequest: with every problem of the document.
        Unavailable: it could not be checked right now.
    """
    definition = check(document)
    portrait = _portrayed(definition, preflight)
    return {
        "object": "validation",
        "valid": True,
        "sha256": definition.sha256,
        "preflight": portrait["report"],
        "summary": portrait["summary"]["text"],
    }


def get_model(session: Session, *, tenant_id: str, model_id: str) -> Model:
    """Return the tenant's model.

    Raises:
        NotFound: the tenant has no such model.
        InvalidRequest: ``invalid_id``.
    """
    found = repository.find(session, tenant_id=tenant_id, model_id=check_id(model_id, "mdl"))
    if found is None:
        raise NotFound()
    return found


def list_models(
    session: Session,
    *,
    tenant_id: str,
    limit: int = 20,
    after: str | None = None,
    created_after: datetime | None = None,
) -> Page:
    """Return a page of the tenant's models, newest first.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    rows = repository.page(
        session, tenant_id=tenant_id, limit=limit + 1, after=id_cursor(after, "mdl"), created_after=created_after
    )
    return Page.of([view(row) for row in rows], limit=limit)


def view(model: Model) -> dict[str, Any]:
    """Return the public form of a model."""
    base = f"/v1/models/{model.id}"
    return {
        "id": model.id,
        "object": "model",
        "sha256": model.sha256,
        "parameters": model.report["parameters"],
        "definition": model.document,
        "preflight": model.report,
        "created_at": timestamp(model.created_at),
        "links": {
            "self": base,
            "source": f"{base}/source",
            "summary": f"{base}/summary",
            "graph": f"{base}/graph",
            "edit": f"{base}/edit",
        },
    }


def _check_quota(session: Session, tenant_id: str, report: Mapping[str, Any], settings: Settings) -> None:
    limits = quotas.limits_of(session, tenant_id=tenant_id, settings=settings)
    quotas.check_parameters(limits, report, pointer="")
    count = partial(repository.count, session, tenant_id=tenant_id)
    quotas.check(session, tenant_id=tenant_id, name="models", limit=limits["models"], count=count)


def _portrayed(definition: Definition, preflight: Preflight) -> dict[str, Any]:
    """Return the columns of a model's row that a visit to the child gives."""
    portrait = preflight.portray(definition)
    source, summary = portrait.pop("source"), portrait.pop("summary")
    return {
        "sha256": definition.sha256,
        "document": definition.document,
        "report": portrait,
        "summary": summary,
        "source": source,
    }
