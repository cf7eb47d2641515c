"""What a case of the table is: a request, and the exact answer that it must get."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
from fastapi import FastAPI

from api import examples
from services.db.engine import Database

REQUEST: dict[str, Any] = examples.REQUESTS["short"]["value"]
JSON = {"Content-Type": "application/json"}


@dataclass
class World:
    """Whom a case asks, and what it may prepare."""

    app: FastAPI
    url: str
    caller: Any
    make_caller: Callable[..., Any]
    anonymous: httpx.Client
    database: Database

    @property
    def client(self) -> httpx.Client:
        """A client with a good key."""
        return self.caller.client  # type: ignore[no-any-return]

    @contextmanager
    def settings(self, **changes: Any) -> Iterator[None]:
        """Let the running service have other settings for a moment."""
        parts = self.app.state.parts
        self.app.state.parts = replace(parts, settings=replace(parts.settings, **changes))
        try:
            yield
        finally:
            self.app.state.parts = parts


@dataclass(frozen=True)
class Case:
    """One cell. ``where`` is the pointer of the first problem listed, ``?name`` for a parameter, None for no list."""

    cell: str
    send: Callable[[World], httpx.Response]
    status: int
    code: str = ""
    where: str | None = None
    says: tuple[str, ...] = ()
    """What the answer must hold beside its code: limits, counts, names, the fix."""
    headers: tuple[str, ...] = ()
    """Names of headers that must be there."""


Row = tuple[Case, ...]


def raw(body: bytes, **headers: str) -> Callable[[World], httpx.Response]:
    """POST bytes as a job."""
    return lambda world: world.client.post("/v1/jobs", content=body, headers={**JSON, **headers})


def get(path: str, **headers: str) -> Callable[[World], httpx.Response]:
    """GET a path with a good key."""
    return lambda world: world.client.get(path, headers=headers)


def job(*path: str, value: Any) -> Callable[[World], httpx.Response]:
    """POST a good job with the member at ``path`` replaced."""

    def send(world: World) -> httpx.Response:
        return world.client.post("/v1/jobs", json=changed(REQUEST, path, value))

    return send


def model(document: Any) -> Callable[[World], httpx.Response]:
    """POST a good job with another model."""
    return job("model", value=document)


def module(forward: list[Any], init: list[Any] | None = None) -> dict[str, Any]:
    """A document of one definition."""
    return {"modules": {"Net": {"init": init or [], "forward": forward}}, "model": "Net()"}


def upload(kind: str, content: bytes) -> Callable[[World], httpx.Response]:
    """POST a file as a data set."""
    return lambda world: world.client.post(f"/v1/datasets?format={kind}", content=content)


def changed(request: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return ``request`` with the member at ``path`` replaced."""
    body = place = copy.deepcopy(dict(request))
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return body
