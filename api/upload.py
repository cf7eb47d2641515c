"""Reads bodies that are files: straight into the chunk store, a MiB in memory at a time, bounded in size and time."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool

from api.body import declared_length, json_body
from api.dependencies import Parts, Writer, parts, preparation_place
from api.errors import BodyTimeout, UnsupportedMediaType
from api.query import NewDatasetQuery
from services.datasets import uploads
from services.datasets.limits import MAX_PART_BYTES
from services.datasets.schema import DatasetRequest
from services.datasets.service import read_request
from services.datasets.uploads import PartWriter
from services.errors import BodyTooLarge, InvalidRequest, MalformedRequest, Problem
from services.tenants.service import Principal

IDLE_SECONDS = 30.0
"""A sender that sends nothing for so long is told 408."""
TOTAL_SECONDS = 3600.0

_DIGEST = re.compile(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):")


@dataclass(frozen=True, slots=True)
class NewDataset:
    """What ``POST /v1/datasets`` carries: a request, and the file itself when it is sent in one go."""

    request: DatasetRequest
    file: PartWriter | None


async def new_dataset(request: Request, caller: Writer, query: Annotated[NewDatasetQuery, Query()]) -> NewDataset:
    """Read a JSON request, or with ``?format=`` a whole small file.

    Raises:
        InvalidRequest, UnsupportedFormat: see `services.datasets.service.read_request`.
        BodyTooLarge, BodyTimeout, UnsupportedMediaType, MalformedRequest: as `receive`.
    """
    if query.format is None:
        if query.given():
            detail = "`name`, `target` and `inputs` in the query go with `format`."
            raise InvalidRequest([Problem("missing", detail, hint="Or put them into the JSON body.")])
        return NewDataset(read_request(await json_body(request)), None)
    wanted = read_request({"format": query.format, **query.given()})
    return NewDataset(wanted, await receive(request, await parts(request), caller))


NewDatasetBody = Annotated[NewDataset, Depends(new_dataset)]


async def arrival_slot(request: Request, body: NewDatasetBody) -> AsyncIterator[None]:
    """Hold a place where the data are in the request and are read at once; to begin an upload takes none."""
    if body.file is None and body.request.format is not None:
        yield
        return
    async with preparation_place(request):
        yield


async def part_body(
    request: Request,
    dataset_id: str,
    number: Annotated[int, Path(description="From 1; parts are put together in the order of their numbers.")],
    caller: Writer,
) -> PartWriter:
    """Read one part of an upload.

    Raises:
        NotFound, Conflict, InvalidRequest: see `uploads.check_open`; before a byte is read.
        BodyTooLarge, BodyTimeout, UnsupportedMediaType, MalformedRequest: as `receive`.
    """
    opened = await parts(request)
    await run_in_threadpool(_check_open, opened, caller, dataset_id, number)
    return await receive(request, opened, caller)


async def receive(request: Request, opened: Parts, caller: Principal) -> PartWriter:
    """Store a body as chunks and verify its digest; the chunks belong to nothing yet.

    Raises:
        InvalidRequest: ``body_required``; ``checksum_mismatch`` against ``Content-Digest`` or ``Repr-Digest``.
        BodyTooLarge, BodyTimeout: by its declared or its real length; by the clock.
        UnsupportedMediaType: it is compressed on its way.
        MalformedRequest: ``invalid_digest``.
    """
    length = declared_length(request)
    if length is not None and length > MAX_PART_BYTES:
        raise BodyTooLarge(f"This body may have at most {MAX_PART_BYTES} bytes.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed on its way.")
    promised = _promised_sha256(request)
    writer = PartWriter(opened.database, tenant_id=caller.tenant_id)
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            await _drain(request, writer)
    except TimeoutError:
        raise BodyTimeout(f"Nothing came for {IDLE_SECONDS:g} s.") from None
    if not writer.size_bytes:
        raise InvalidRequest([Problem("body_required", "This call needs the bytes of a file.")])
    if promised is not None and promised != writer.sha256:
        detail = f"The body has the sha256 {writer.sha256}, not {promised}."
        raise InvalidRequest([Problem("checksum_mismatch", detail, hint="Send it again.")])
    return writer


async def _drain(request: Request, writer: PartWriter) -> None:
    stream = request.stream()
    while True:
        async with asyncio.timeout(IDLE_SECONDS):
            data = await anext(stream, None)
        if data is None:
            break
        if writer.take(data):
            await run_in_threadpool(writer.store)
    await run_in_threadpool(writer.store, last=True)


def _check_open(opened: Parts, caller: Principal, dataset_id: str, number: int) -> None:
    with opened.database.read_session() as session:
        uploads.check_open(session, tenant_id=caller.tenant_id, dataset_id=dataset_id, number=number)


def _promised_sha256(request: Request) -> str | None:
    """Return the sha256 of ``Content-Digest`` or ``Repr-Digest`` (RFC 9530), in hexadecimal."""
    found = None
    for name in ("content-digest", "repr-digest"):
        text = request.headers.get(name)
        if text is None:
            continue
        match = _DIGEST.search(text[:1000])
        if not match:
            detail = f"{name.title()} has no sha-256, or not in the form sha-256=:<base64>:."
            raise MalformedRequest(detail, code="invalid_digest")
        found = base64.b64decode(match[1]).hex()
    return found


ArrivalSlot = Annotated[None, Depends(arrival_slot, scope="function")]
PartBody = Annotated[PartWriter, Depends(part_body)]
