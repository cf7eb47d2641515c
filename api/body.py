"""Reads a JSON body: type, size and time are bounded before a byte of it is understood."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from api.errors import BodyTimeout, UnsupportedMediaType
from services import strict_json
from services.errors import BodyTooLarge, InvalidRequest, MalformedRequest, Problem

_INLINE_BYTES = 32 << 10  # parsing more than this would hold up the event loop for over a millisecond


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much may arrive, and how long it may take from the first byte to the last."""

    max_bytes: int = strict_json.MAX_BYTES
    timeout_seconds: float = 15.0


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that the request carries.

    Raises:
        InvalidRequest: ``body_required``, ``dict_type``, ``invalid_character``.
        UnsupportedMediaType: it is not declared as JSON.
        BodyTooLarge, BodyTimeout: by its declared or its real length; by the clock.
        InvalidJson: see `services.strict_json.loads`.
    """
    limits: BodyLimits = request.app.state.body_limits
    declared = declared_length(request)
    if declared == 0:
        raise _body_required()
    if declared is not None and declared > limits.max_bytes:
        raise _too_large(limits)
    _check_type(request.headers.get("content-type", ""), request.headers.get("content-encoding", "identity"))
    body = await _read(request, limits)
    if not body.strip():
        raise _body_required()
    parse = strict_json.loads
    document = parse(body) if len(body) <= _INLINE_BYTES else await run_in_threadpool(parse, body)
    if not isinstance(document, dict):
        raise InvalidRequest([Problem("dict_type", "The body must be a JSON object.")])
    return document


JsonBody = Annotated[dict[str, Any], Depends(json_body)]


def declared_length(request: Request) -> int | None:
    """Return what the request says of its length; None when it comes in chunks.

    Raises:
        MalformedRequest: ``invalid_content_length``.
    """
    text = request.headers.get("content-length")
    if text is None:
        # Neither a length nor chunks: RFC 9112 §6.3 says that there is no body.
        return None if "transfer-encoding" in request.headers else 0
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise MalformedRequest("Content-Length is not a number.", code="invalid_content_length")
    return int(text)


def _check_type(content_type: str, encoding: str) -> None:
    if encoding.strip().lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    is_json = media_type == "application/json" or (media_type.startswith("application/") and media_type[-5:] == "+json")
    charsets = [part for part in parameters if part.startswith("charset=")]
    if not is_json or any(part[8:].strip('"') not in ("utf-8", "utf8") for part in charsets):
        raise UnsupportedMediaType


async def _read(request: Request, limits: BodyLimits) -> bytes:
    """Collect the body; memory never holds more of it than the limit and one network read."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.timeout_seconds):
            async for part in request.stream():
                if len(body) + len(part) > limits.max_bytes:
                    raise _too_large(limits)
                body += part
    except TimeoutError:
        detail = f"The body did not arrive within {limits.timeout_seconds:g} s."
        raise BodyTimeout(detail) from None
    return bytes(body)


def _too_large(limits: BodyLimits) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have at most {limits.max_bytes} bytes.")


def _body_required() -> InvalidRequest:
    return InvalidRequest([Problem("body_required", "This call needs a JSON body.")])
