"""Authentication against real rows: who is let in, what the others are told, and how soon a revocation is felt."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select

from services.db.models import ApiKey, Tenant
from services.errors import (
    InsufficientScope,
    InvalidRequest,
    KeyExpired,
    KeyRevoked,
    NotFound,
    Unauthenticated,
)
from services.tenants import keys, service
from services.tenants.cache import MAX_ENTRIES, PrincipalCache


@pytest.fixture
def make_key(database, tenant_id):
    def make(**options):
        with database.session() as session:
            return service.create_key(session, tenant_id=tenant_id, **options)

    return make


def authenticate(database, text):
    with database.read_session() as session:
        return service.authenticate(session, text)


def test_a_good_key_names_its_tenant_and_scopes(database, tenant_id, make_key):
    text, row = make_key(name="ci", scopes=["jobs:read"])
    principal = authenticate(database, text)
    assert (principal.tenant_id, principal.key_id, principal.scopes) == (tenant_id, row.id, {"jobs:read"})


def test_the_secret_is_nowhere_in_the_database(database, make_key):
    text, row = make_key()
    with database.read_session() as session:
        stored = session.scalars(select(ApiKey).where(ApiKey.id == row.id)).one()
    assert text[12:55] not in repr(vars(stored))
    assert len(stored.secret_sha256) == 32


def swap_id(text, other):
    body = other[:12] + text[12:55]
    return body + keys._checksum(body)


@pytest.mark.parametrize("wrong", ["absent", "noise", "bad checksum", "unknown id", "another key's id"])
def test_every_other_key_gets_the_same_answer_for_the_same_queries(database, make_key, wrong):
    text, _ = make_key()
    offered = {
        "absent": None,
        "noise": "Bearer of bad news",
        "bad checksum": text[:-1] + ("a" if text[-1] != "a" else "b"),
        "unknown id": keys.generate()[0],
        "another key's id": swap_id(keys.generate()[0], text),
    }[wrong]
    statements = []
    event.listen(database.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    with pytest.raises(Unauthenticated) as caught, database.session() as session:
        service.authenticate(session, offered)
    assert type(caught.value) is Unauthenticated
    assert caught.value.detail == Unauthenticated().detail
    assert len(statements) == 1


def test_an_expired_and_a_revoked_key_are_told_so_but_only_with_the_right_secret(database, tenant_id, make_key):
    expired, _ = make_key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(KeyExpired):
        authenticate(database, expired)
    with pytest.raises(Unauthenticated) as caught:
        authenticate(database, swap_id(keys.generate()[0], expired))
    assert caught.value.code == "unauthenticated"

    revoked, row = make_key(expires_at=datetime.now(UTC) + timedelta(days=1))
    assert authenticate(database, revoked)
    for _ in range(2):
        with database.session() as session:
            service.revoke_key(session, tenant_id=tenant_id, key_id=row.id)
    with pytest.raises(KeyRevoked):
        authenticate(database, revoked)


def test_nobody_revokes_another_tenants_key(database, make_key):
    text, row = make_key()
    with pytest.raises(NotFound), database.session() as session:
        service.revoke_key(session, tenant_id="ten_somebody_else", key_id=row.id)
    assert authenticate(database, text)


def test_scopes_are_a_closed_list(database, make_key):
    for scopes in (["jobs:reed"], []):
        with pytest.raises(InvalidRequest) as caught:
            make_key(scopes=scopes)
        assert caught.value.code == "unknown_scope"


@pytest.mark.parametrize(
    ("scopes", "asked", "allowed"),
    [
        ({"jobs:read"}, "jobs:read", True),
        ({"jobs:read"}, "jobs:write", False),
        ({"jobs:write"}, "jobs:read", False),
        ({"*"}, "jobs:write", True),
        ({"*"}, "keys:write", True),
        (set(), "jobs:read", False),
    ],
)
def test_a_scope_is_had_or_not(scopes, asked, allowed):
    principal = service.Principal("ten_1", "key_1", frozenset(scopes))
    if allowed:
        principal.require(asked)
    else:
        with pytest.raises(InsufficientScope, match=asked):
            principal.require(asked)


def test_a_tenant_is_made_once(database):
    made = []
    for _ in range(2):
        with database.session() as session:
            made.append(service.create_tenant(session, name="once").id)
    assert made[0] == made[1]
    with database.read_session() as session:
        assert len(session.scalars(select(Tenant).where(Tenant.name == "once")).all()) == 1


def test_the_cache_forgets_within_a_second_and_keeps_no_key_text():
    now = [100.0]
    cache = PrincipalCache(clock=lambda: now[0])
    principal = service.Principal("ten_1", "key_1", frozenset())
    cache.remember("mw_secret", principal, asked_at=cache.now())
    assert cache.find("mw_secret") is principal
    assert cache.find("mw_other") is None
    assert "mw_secret" not in repr(cache._entries)
    now[0] += 1.0
    assert cache.find("mw_secret") is None


def test_the_cache_is_bounded():
    cache = PrincipalCache()
    principal = service.Principal("ten_1", "key_1", frozenset())
    for number in range(2 * MAX_ENTRIES):
        cache.remember(str(number), principal, asked_at=cache.now())
    assert len(cache._entries) <= MAX_ENTRIES


def test_bootstrap_prints_one_line_with_a_key_that_works(database, environment):
    command = [sys.executable, "-m", "services.tenants.bootstrap", "--tenant", "class of 26", "--print-key"]
    lines = [
        json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
        for _ in range(2)
    ]
    assert lines[0]["tenant_id"] == lines[1]["tenant_id"]
    assert lines[0]["api_key"] != lines[1]["api_key"]
    for line in lines:
        assert authenticate(database, line["api_key"]).tenant_id == line["tenant_id"]
