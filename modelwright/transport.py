"""HTTP for the client: the key on each request, retries that are safe to repeat, answers turned into typed errors."""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from modelwright.credentials import Credentials
from modelwright.errors import RETRY_STATUSES, ConnectionFailed, ServiceError, from_answer

_CONNECT_SECONDS = 5.0
_IN_PROGRESS = "idempotency_in_progress"
_MAX_RETRY_AFTER_SECONDS = 30.0

_FOR_STORES = ("Accept", "Accept-Encoding", "Range")

Json = dict[str, Any]
Parameters = Sequence[tuple[str, str | int]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try and how long to pause: doubling from ``first_seconds``, half of it random, at most 8 s."""

    attempts: int = 5
    first_seconds: float = 0.25

    def pause(self, attempt: int, retry_after: str | None = None) -> None:
        """Sleep after failed attempt number ``attempt`` (from 0); ``retry_after`` is the header, in seconds."""
        seconds = min(8.0, self.first_seconds * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        with suppress(TypeError, ValueError):
            seconds = max(seconds, min(_MAX_RETRY_AFTER_SECONDS, float(retry_after or "")))
        time.sleep(seconds)


class Transport:
    """One service, one key. Every request through here may be sent twice: GETs, and POSTs with an idempotency key."""

    def __init__(self, credentials: Credentials, *, timeout_seconds: float, retries: RetryPolicy) -> None:
        self._credentials = credentials
        self._retries = retries
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(
            base_url=credentials.url,
            timeout=_timeout(timeout_seconds),
            headers={"Authorization": f"Bearer {credentials.api_key}", "User-Agent": "modelwright-python"},
            trust_env=not _is_loopback(credentials.url),  # a proxy cannot reach this machine's loopback
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, params: Parameters = ()) -> Json:
        """Return the JSON of ``GET path``.

        Raises:
            ApiError: the service answered with a problem.
            ConnectionFailed: it did not answer.
        """
        return _object(self._request("GET", path, params=params))

    def get_text(self, path: str, params: Parameters = ()) -> str:
        """Return the text of ``GET path``.

        Raises:
            ApiError, ConnectionFailed: as `get`.
        """
        return self._request("GET", path, params=params).text

    def get_if_changed(
        self, path: str, etag: str | None, *, wait_seconds: float = 0.0
    ) -> tuple[Json | None, str | None]:
        """Return ``(JSON, ETag)`` of ``GET path``, or ``(None, etag)`` when it is unchanged since ``etag``.

        The service may take ``wait_seconds`` to answer that nothing has changed.
        """
        answer = self._request(
            "GET",
            path,
            params=[("wait", f"{wait_seconds:.3f}")] if wait_seconds else (),
            headers={"If-None-Match": etag} if etag else {},
            timeout_seconds=self._timeout_seconds + wait_seconds,
        )
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None, etag
        return _object(answer), answer.headers.get("etag")

    def post(
        self,
        path: str,
        body: object = None,
        *,
        idempotency_key: str,
        params: Parameters = (),
        timeout_seconds: float | None = None,
    ) -> Json:
        """Return the JSON of ``POST path``; it happens once, however often it is sent."""
        headers = {"Idempotency-Key": idempotency_key}
        answer = self._request("POST", path, params=params, headers=headers, body=body, timeout_seconds=timeout_seconds)
        return _object(answer)

    def put(self, path: str, content: bytes, headers: Mapping[str, str]) -> Json:
        """Return the JSON of ``PUT path`` with bytes."""
        return _object(self._request("PUT", path, headers=headers, content=content))

    def patch(self, path: str, body: object, *, if_match: str | None = None) -> tuple[Json, str | None]:
        """Return ``(JSON, ETag)`` of ``PATCH path``; sent twice, the second changes nothing.

        Raises:
            PreconditionFailed: it is no longer as ``if_match`` knows it; also when that is so because the answer to an
                earlier attempt, which changed it, was lost.
            ApiError, ConnectionFailed: as `get`.
        """
        answer = self._request("PATCH", path, headers=_condition(if_match), body=body)
        return _object(answer), answer.headers.get("etag")

    def delete(self, path: str, *, if_match: str | None = None) -> None:
        """``DELETE path``; sent twice, the second finds nothing.

        Raises:
            ApiError, ConnectionFailed: as `patch`.
        """
        self._request("DELETE", path, headers=_condition(if_match))

    def post_text(self, path: str, body: object, *, params: Parameters = (), timeout_seconds: float) -> str:
        """Return the text that ``POST path`` answers; for routes that keep nothing.

        Raises:
            ApiError, ConnectionFailed: as `get`.
        """
        return self._request("POST", path, params=params, body=body, timeout_seconds=timeout_seconds).text

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], *, body: object = None) -> Iterator[httpx.Response]:
        """Open ``GET path``, or ``POST path`` with a ``body``, for reading what comes, once, without retries.

        Where the service sends us to an object store, what comes is from there; it is not shown our key.

        Raises:
            ApiError: the service answered with a problem.
            ConnectionFailed: it did not answer, or the answer broke off; the object store refused.
        """
        method = "GET" if body is None else "POST"
        with self._connection_errors(), self._http.stream(method, path, headers=headers, json=body) as answer:
            if answer.is_error:
                answer.read()
                raise from_answer(answer.status_code, _json(answer))
            if not answer.has_redirect_location:
                yield answer
                return
            elsewhere = answer.url.join(answer.headers["location"])
        with self._connection_errors(), self._stored(elsewhere, headers) as answer:
            yield answer

    @contextmanager
    def _stored(self, url: httpx.URL, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Open what an object store has; its address names these very bytes, so a range of them is always of them."""
        asked = {name: value for name, value in headers.items() if name in _FOR_STORES}
        trusted = not _is_loopback(str(url))
        with httpx.stream(
            "GET", url, headers=asked, timeout=_timeout(self._timeout_seconds), trust_env=trusted
        ) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise from_answer(answer.status_code, None)
            if not answer.is_success:  # gone, or too late: the service will say where it is now
                raise ConnectionFailed(f"The object store at {url.host} answered {answer.status_code}.")
            yield answer

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Parameters = (),
        headers: Mapping[str, str] | None = None,
        body: object = None,
        content: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> httpx.Response:
        request = self._http.build_request(
            method,
            path,
            params=list(params) or None,
            headers=headers,
            json=body,
            content=content,
            timeout=_timeout(self._timeout_seconds if timeout_seconds is None else timeout_seconds),
        )
        answer = self._send(request)
        if answer.is_error:
            raise from_answer(answer.status_code, _json(answer))
        return answer

    def _send(self, request: httpx.Request) -> httpx.Response:
        for attempt in range(self._retries.attempts - 1):
            retry_after = None
            with suppress(ConnectionFailed), self._connection_errors():
                answer = self._http.send(request)
                if not _worth_another_try(answer):
                    return answer
                retry_after = answer.headers.get("retry-after")
            self._retries.pause(attempt, retry_after)
        with self._connection_errors():
            return self._http.send(request)

    @contextmanager
    def _connection_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.InvalidURL as error:
            raise ConnectionFailed(f"{self._credentials.url} is not an address: {error}") from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ConnectionFailed(f"No answer from {self._credentials.url} ({reason}).") from error


def _condition(if_match: str | None) -> dict[str, str]:
    return {} if if_match is None else {"If-Match": if_match}


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=_CONNECT_SECONDS)


def _worth_another_try(answer: httpx.Response) -> bool:
    if answer.status_code == httpx.codes.CONFLICT:
        body = _json(answer)
        return isinstance(body, dict) and body.get("code") == _IN_PROGRESS
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return "retry-after" in answer.headers  # a rate passes by itself, a quota does not
    return answer.status_code in RETRY_STATUSES


def _object(answer: httpx.Response) -> Json:
    body = _json(answer)
    if isinstance(body, dict):
        return body
    detail = f"{answer.url} answered with something that is not JSON: is this a Modelwright service?"
    raise ServiceError(answer.status_code, {"code": "not_json", "detail": detail})


def _json(answer: httpx.Response) -> object:
    with suppress(ValueError):
        return answer.json()
    return None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
