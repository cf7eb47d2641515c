"""Requests as the client's methods make them: get, post, pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from modelwright.transport import Transport

Json = dict[str, Any]
Parameters = Sequence[tuple[str, str | int]]

Moment = datetime | str
"""A time: as text in RFC 3339, or a datetime, which without a zone is of this machine's."""

_PAGE = 100


class Tagged(Json):
    """What the service sent of a thing; ``etag`` is which version of it, for ``if_match=``, where it said that."""

    def __init__(self, content: Mapping[str, Any], etag: str | None) -> None:
        super().__init__(content)
        self.etag = etag


class Requests:
    """Base of the client: what its methods share."""

    _transport: Transport

    def _get(self, where: str, params: Parameters = ()) -> Json:
        return self._transport.get(where, params)

    def _get_text(self, where: str, params: Parameters = ()) -> str:
        return self._transport.get_text(where, params)

    def _post(
        self,
        where: str,
        body: object,
        idempotency_key: str | None,
        *,
        params: Parameters = (),
        timeout_seconds: float | None = None,
    ) -> Json:
        key = idempotency_key or str(uuid.uuid4())
        return self._transport.post(where, body, idempotency_key=key, params=params, timeout_seconds=timeout_seconds)

    def _look(self, where: str) -> Tagged:
        content, etag = self._transport.get_if_changed(where, None)
        return Tagged(content or {}, etag)

    def _patch(self, where: str, body: object, if_match: str | None) -> Tagged:
        return Tagged(*self._transport.patch(where, body, if_match=if_match))

    def _post_text(self, where: str, body: object, *, params: Parameters = (), timeout_seconds: float) -> str:
        return self._transport.post_text(where, body, params=params, timeout_seconds=timeout_seconds)

    def _pages(
        self, where: str, filters: Sequence[tuple[str, str | int]], limit: int | None, *, after: str | None = None
    ) -> Iterator[Json]:
        """Yield what a list holds; a page that is empty has no last id, and leaves the cursor where it was."""
        taken = 0
        while limit is None or taken < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - taken)
            page = self._get(where, [*filters, ("limit", size), *([("after", after)] if after else [])])
            yield from page["data"]
            taken, after = taken + len(page["data"]), page["last_id"] or after
            if not page["has_more"]:
                return


def filters(**given: Moment | int | Sequence[str] | None) -> list[tuple[str, str | int]]:
    """Return what was asked for as parameters: each of several by itself, nothing for what was not given."""
    found: list[tuple[str, str | int]] = []
    for name, value in given.items():
        if isinstance(value, datetime):
            found.append((name, value.astimezone(UTC).isoformat()))
        elif isinstance(value, str | int):
            found.append((name, value))
        else:
            found += [(name, one) for one in value or ()]
    return found


def path(*parts: str) -> str:
    """Join parts that may come from a user: a slash in an id stays inside its part."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def address(identifier: str) -> str:
    """Return where a job or a sweep is, by what its id begins with."""
    return path("sweeps" if identifier.startswith("swp_") else "jobs", identifier)
