"""What a client is told when something goes wrong: one table from errors to status, one form (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from api import logs
from api.draining import DrainingResponse
from api.query import query_problems
from services import errors
from services.db.engine import is_full, is_outage

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class BodyTimeout(errors.ModelwrightError):
    """The request body did not arrive in time."""

    code = "body_timeout"


class PreconditionFailed(errors.ModelwrightError):
    """It is no longer as your ``If-Match`` knows it."""

    code = "precondition_failed"


class UnsupportedMediaType(errors.ModelwrightError):
    """The request body must be JSON: send ``Content-Type: application/json``."""

    code = "unsupported_media_type"


STATUS: dict[type[errors.ModelwrightError], HTTPStatus] = {
    errors.MalformedRequest: HTTPStatus.BAD_REQUEST,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.InsufficientScope: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    BodyTimeout: HTTPStatus.REQUEST_TIMEOUT,
    errors.Conflict: HTTPStatus.CONFLICT,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.UnsupportedFormat: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.RangeNotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.QuotaExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""A class that is not here has the status of its nearest ancestor; with none it is our fault, and says nothing: 500."""

_ROUTER_CODES = {HTTPStatus.NOT_FOUND: "not_found", HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed"}
_PARAMETERS = {"invalid_cursor": {"parameter": "after"}}
"""Problems that services find in what came as a query parameter; no pointer into the body can name it."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error as a problem; what is left over is answered by `api.middleware`."""
    app.add_exception_handler(errors.ModelwrightError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_ours)
    app.add_exception_handler(HTTPException, _on_router)
    app.add_exception_handler(ClientDisconnect, _on_client_gone)
    app.add_exception_handler(DBAPIError, _on_database)
    app.add_exception_handler(PoolTimeout, _on_database)


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    problems: list[dict[str, Any]] | None = None,
    extensions: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    draining: bool = False,
) -> Response:
    """Return the RFC 9457 answer; ``type`` is a name, not an address, and ``code`` is its last part."""
    content = {
        "type": f"urn:modelwright:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": logs.request_id(),
        "errors": problems or [],
        **(extensions or {}),
    }
    kind = DrainingResponse if draining else Response
    return kind(json.dumps(content), status_code=int(status), media_type=MEDIA_TYPE, headers=dict(headers or {}))


def internal_error() -> Response:
    """Return the answer to a failure of ours: a request id to ask about, and nothing else."""
    detail = "Something failed on our side. The request id finds it in our logs."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)


def status_of(error: errors.ModelwrightError) -> HTTPStatus:
    """Return the status of the nearest class in the table."""
    nearest = (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return next(nearest, HTTPStatus.INTERNAL_SERVER_ERROR)


def code_of(error: Exception) -> tuple[int, str]:
    """Return the status and the code with which an error will be answered."""
    known = _told(error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR if known is None else status_of(known)
    return status, "internal_error" if known is None or status is HTTPStatus.INTERNAL_SERVER_ERROR else known.code


def _told(error: Exception) -> errors.ModelwrightError | None:
    """Return what a client is told of an error; None where nothing: then it is a failure of ours."""
    if isinstance(error, RequestValidationError):
        return errors.InvalidRequest(query_problems(error.errors()))
    if isinstance(error, DBAPIError) and is_outage(error):
        return errors.StorageFull() if is_full(error) else errors.Unavailable()
    if isinstance(error, PoolTimeout):
        return errors.Unavailable()
    return error if isinstance(error, errors.ModelwrightError) else None


async def _on_ours(_: Request, raised: Exception) -> Response:
    error = _told(raised)
    assert error is not None  # noqa: S101 - the registration above says so
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s: %s", error.code, error.detail, exc_info=error)
        return internal_error()
    return problem(
        status,
        error.code,
        error.detail,
        problems=_listed(error),
        extensions=_extensions(error),
        headers=_headers(error),
        # Whoever still sends would see a reset, not this answer, if the socket closed on unread data.
        draining=isinstance(error, errors.BodyTooLarge | BodyTimeout),
    )


async def _on_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    code = _ROUTER_CODES.get(status, status.name.lower())
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_allowed_methods(request))
        return problem(status, code, f"This path takes {allowed}.", headers={"Allow": allowed})
    detail = "No such path." if status is HTTPStatus.NOT_FOUND else str(error.detail)
    return problem(status, code, detail, headers=error.headers)


async def _on_client_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it


async def _on_database(request: Request, error: Exception) -> Response:
    """PostgreSQL away is an outage, not a bug: 503. Anything else that it refuses is a bug of ours."""
    if _told(error) is not None:
        log.warning("database away: %s", str(error).split("\n", 1)[0])
        return await _on_ours(request, error)
    log.error("database: %s", type(error).__name__, exc_info=error)
    return internal_error()


def _listed(error: errors.ModelwrightError) -> list[dict[str, Any]]:
    if isinstance(error, errors.InvalidRequest):
        return [_PARAMETERS.get(one.code, {}) | one.to_dict() for one in error.problems]
    if isinstance(error, errors.MalformedRequest):
        return [errors.Problem(error.code, error.detail, hint=error.hint).to_dict()]
    return []


def _extensions(error: errors.ModelwrightError) -> dict[str, Any]:
    """Return the members that some kinds of problem add (RFC 9457 §3.2)."""
    extensions: dict[str, Any] = {"hint": error.hint} if error.hint else {}
    if isinstance(error, errors.InvalidJson) and error.offset is not None:
        extensions["offset"] = error.offset
    if isinstance(error, errors.AlreadyTerminal):
        extensions["state"] = error.state
    return extensions


def _headers(error: errors.ModelwrightError) -> dict[str, str]:
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="modelwright"'}
    if isinstance(error, errors.Unavailable | errors.RateLimited):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, errors.RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.size_bytes}", "Accept-Ranges": "bytes"}
    return {}


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes with this path; the router itself names only those of the first one.

    ``/models/validate`` is a path of its own, not a model that could be looked at.
    """
    routes = [(one.path or "", one.methods or ()) for one in iter_route_contexts(request.app.routes)]
    here = next((path for path, _ in routes if compile_path(path)[0].match(request.scope["path"])), None)
    methods = {method for path, some in routes if path == here for method in some}
    allowed = [method for method in _METHODS if method in methods]
    return ["GET", "HEAD", *allowed[1:]] if "GET" in allowed else allowed  # `api.middleware` turns HEAD into GET
