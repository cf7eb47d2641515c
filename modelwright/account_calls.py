"""What a client can do with keys, and what it can see of its tenant's use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modelwright.requests import Moment, Requests, filters, path

Json = dict[str, Any]


class AccountCalls(Requests):
    """The methods for ``/v1/keys``, ``/v1/usage`` and ``/v1/audit``."""

    def own_key(self) -> Json:
        """Return the key that this client uses: its scopes and when it ends."""
        return self._get(path("keys", "self"))

    def keys(self, *, limit: int | None = None) -> Iterator[Json]:
        """Yield your tenant's keys, newest first, without their secrets."""
        return self._pages("/v1/keys", [], limit)

    def get_key(self, key_id: str) -> Json:
        """Return a key: scopes, end, last use.

        Raises:
            NotFound: your tenant has no such key.
        """
        return self._get(path("keys", key_id))

    def create_key(self, scopes: Sequence[str], *, name: str = "", expires_in_seconds: int | None = None) -> Json:
        """Make a key and return it; ``api_key`` is its text, which cannot be had again.

        Args:
            scopes: what it may do, such as ``["jobs:read", "checkpoints:read"]``; no more than this client's key.
            name: what it is for.
            expires_in_seconds: how long it is good; by default as long as this client's key.

        Raises:
            Forbidden: it would be allowed more than this client's key.
            InvalidRequest: there is no such scope, or it would last longer than this client's key.
        """
        body: Json = {"name": name, "scopes": list(scopes)}
        if expires_in_seconds is not None:
            body["expires_in_seconds"] = expires_in_seconds
        return self._with_text(self._post("/v1/keys", body, None))

    def rotate_key(self, key_id: str, *, overlap_seconds: int = 86_400) -> Json:
        """Make a key in place of another, which goes on for ``overlap_seconds``, and return it with its ``api_key``.

        Raises:
            StateConflict: it is no longer good, or has been rotated before.
            Forbidden: it may do what this client's key may not.
        """
        body = {"overlap_seconds": overlap_seconds}
        return self._with_text(self._post(path("keys", key_id, "rotate"), body, None))

    def revoke_key(self, key_id: str) -> Json:
        """End a key for good and return it; within a second it is refused everywhere.

        Raises:
            NotFound: your tenant has no such key.
        """
        return self._post(path("keys", key_id, "revoke"), None, None)

    def usage(self) -> Json:
        """Return what your tenant has used: jobs, training seconds, storage, requests, and each limit."""
        return self._get("/v1/usage")

    def audit(
        self,
        *,
        key_id: str | None = None,
        object_id: str | None = None,
        status: int | None = None,
        created_after: Moment | None = None,
        created_before: Moment | None = None,
        limit: int | None = None,
    ) -> Iterator[Json]:
        """Yield who did what, newest first: each call that changed something or was refused."""
        when = filters(created_after=created_after, created_before=created_before)
        return self._pages("/v1/audit", filters(key_id=key_id, object_id=object_id, status=status) + when, limit)

    def _with_text(self, made: Json) -> Json:
        """Return a key with its text; where the answer that had it was lost, that of the key that replaces it."""
        return made if made["api_key"] is not None else self.rotate_key(made["id"], overlap_seconds=0)
