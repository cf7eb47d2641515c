"""Who may call: tenants, their API keys, and the check of a key."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from services.db.models import ApiKey, Tenant
from services.errors import InsufficientScope, KeyExpired, KeyRevoked, NotFound, Unauthenticated
from services.identifiers import new_id
from services.tenants import keys, repository
from services.tenants.scopes import EVERYTHING, check_scopes


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf a request is made; ``limits`` are what the tenant's differ by from the service's defaults."""

    tenant_id: str
    key_id: str
    scopes: frozenset[str]
    limits: Mapping[str, int] = field(default_factory=dict)

    def require(self, scope: str) -> None:
        """Return if this key has ``scope``.

        Raises:
            InsufficientScope: it has not.
        """
        if scope not in self.scopes and EVERYTHING not in self.scopes:
            raise InsufficientScope(f"This call needs a key with the scope {scope}.")


def create_tenant(session: Session, *, name: str) -> Tenant:
    """Create a tenant called ``name``, or return the one there is."""
    return repository.insert_tenant(session, tenant_id=new_id("ten"), name=name)


def create_key(
    session: Session,
    *,
    tenant_id: str,
    name: str = "",
    scopes: Iterable[str] = (EVERYTHING,),
    expires_at: datetime | None = None,
    created_by: str | None = None,
) -> tuple[str, ApiKey]:
    """Create a key; return its text, which can never be had again, and its row.

    Raises:
        InvalidRequest: code ``unknown_scope``.
    """
    text, parts = keys.generate()
    row = ApiKey(
        id=parts.key_id,
        tenant_id=tenant_id,
        name=name,
        secret_sha256=parts.secret_sha256,
        scopes=check_scopes(scopes),
        expires_at=expires_at,
        created_by=created_by,
    )
    return text, repository.insert_key(session, row)


def revoke_key(session: Session, *, tenant_id: str, key_id: str) -> None:
    """Revoke a key; again is no error. Every API process refuses it within ``PrincipalCache.ttl_seconds``.

    Raises:
        NotFound: this tenant has no such key.
    """
    if not repository.revoke_key(session, tenant_id=tenant_id, key_id=key_id):
        raise NotFound


def authenticate(session: Session, key_text: str | None) -> Principal:
    """Return whose key this is.

    A missing, malformed, unknown or wrong key costs the same one query, one digest and one constant-time comparison
    and gets the same answer: neither words nor time tell which key ids exist.

    Raises:
        Unauthenticated: no such key; or KeyRevoked, KeyExpired, told only to who has the right secret.
    """
    offered = keys.parse(key_text)
    stored = repository.find_key(session, offered.key_id)
    expected = stored.secret_sha256 if stored else keys.NOBODY.secret_sha256
    equal = hmac.compare_digest(expected, offered.secret_sha256)
    if stored is None or not equal:
        raise Unauthenticated
    if stored.revoked:
        raise KeyRevoked
    if stored.expired:
        raise KeyExpired
    if stored.unnoted:
        repository.note_use(session, key_id=offered.key_id)
    return Principal(stored.tenant_id, offered.key_id, frozenset(stored.scopes), stored.limits)
