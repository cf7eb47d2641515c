"""Requests as the client's methods make them: get, post, pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from modelwright.transport import Transport

Json = dict[str, Any]
Parameters = Sequence[tuple[str, str | int]]

_PAGE = 100


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

    def _patch(self, where: str, body: object) -> Json:
        return self._transport.patch(where, body)

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


def path(*parts: str) -> str:
    """Join parts that may come from a user: a slash in an id stays inside its part."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def address(identifier: str) -> str:
    """Return where a job or a sweep is, by what its id begins with."""
    return path("sweeps" if identifier.startswith("swp_") else "jobs", identifier)
