"""A database for each back end of the chunk store, and what a test does to its bytes behind its back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from services.db.engine import Database
from services.db.models import Tenant
from services.identifiers import new_id
from services.jobs.claims import Claim
from services.storage.objects import ObjectStore
from tests.object_store import ObjectServer


@dataclass
class Back:
    """One back end: the database whose sessions store chunks there, and a tenant."""

    database: Database
    tenant_id: str
    server: ObjectServer | None = None
    bucket: str = ""
    owner: Claim | None = None

    def tenant(self) -> str:
        """Make a tenant and return its id."""
        identifier = new_id("ten")
        with self.database.session() as session:
            session.add(Tenant(id=identifier, name=identifier))
        return identifier

    def key(self, tenant_id: str, sha256: bytes) -> str | None:
        """Return the key of a chunk's object; None when its bytes lie in its row."""
        with self.database.read_session() as session:
            word = session.scalar(
                text("SELECT object FROM chunk WHERE tenant_id = :tenant AND sha256 = :name"),
                {"tenant": tenant_id, "name": sha256},
            )
        return f"chunks/{tenant_id}/{sha256.hex()}/{word}" if word is not None else None

    def damage(self, sha256: bytes, content: bytes | None) -> None:
        """Put other bytes in the place of a chunk's, or none at all."""
        key = self.key(self.tenant_id, sha256)
        if key is not None and self.server is not None:
            if content is None:
                self.server.client.delete_object(Bucket=self.bucket, Key=key)
            else:
                self.server.put(self.bucket, key, content)
            return
        change = "DELETE FROM chunk" if content is None else "UPDATE chunk SET data = :content"
        with self.database.session() as session:
            session.execute(
                text(f"{change} WHERE tenant_id = :tenant AND sha256 = :name"),
                {"tenant": self.tenant_id, "name": sha256} | ({} if content is None else {"content": content}),
            )

    def age(self, seconds: float) -> None:
        """Make all chunks so much older."""
        with self.database.session() as session:
            session.execute(
                text("UPDATE chunk SET created_at = created_at - make_interval(secs => :s)"), {"s": seconds}
            )


def empty(database: Database) -> None:
    with database.session() as session:
        session.execute(
            text(
                "DELETE FROM dataset; DELETE FROM checkpoint; DELETE FROM chunk; DELETE FROM job_event; DELETE FROM job"
            )
        )


@pytest.fixture
def objects(database_url: str, object_server: ObjectServer) -> Iterator[Back]:
    """The object store as back end."""
    place = object_server.place()
    database = Database(database_url, objects=ObjectStore(place))
    empty(database)
    back = Back(database, "", object_server, place.bucket)
    yield Back(database, back.tenant(), object_server, place.bucket)
    database.close()


@pytest.fixture(params=["database", "objects"])
def back(request: pytest.FixtureRequest, database: Database) -> Back:
    """Each back end in turn."""
    if request.param == "objects":
        found: Back = request.getfixturevalue("objects")
        return found
    empty(database)
    return Back(database, Back(database, "").tenant())
