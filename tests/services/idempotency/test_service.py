"""One key, one answer."""

import pytest

from services.db.engine import Database
from services.errors import IdempotencyInProgress, IdempotencyMismatch, MalformedRequest
from services.idempotency.service import find_replay, remember
from services.identifiers import new_id

BODY = {"model": "Linear(1, 1)", "training": {"epochs": 1}}


def test_the_second_request_gets_the_first_ones_answer_whatever_its_member_order(
    database: Database, tenant_id: str
) -> None:
    with database.session() as session:
        assert find_replay(session, tenant_id=tenant_id, key="k", body=BODY) is None
        remember(session, tenant_id=tenant_id, key="k", body=BODY, response={"id": "job_1", "b": 1, "a": 2})
    reordered = dict(reversed(BODY.items()))
    with database.session() as session:
        answer = find_replay(session, tenant_id=tenant_id, key="k", body=reordered)
    assert list((answer or {}).items()) == [("id", "job_1"), ("b", 1), ("a", 2)]


def test_another_body_is_refused(database: Database, tenant_id: str) -> None:
    with database.session() as session:
        remember(session, tenant_id=tenant_id, key="k", body=BODY, response={})
    with database.session() as session, pytest.raises(IdempotencyMismatch):
        find_replay(session, tenant_id=tenant_id, key="k", body={**BODY, "training": {"epochs": 2}})


def test_a_key_in_flight_is_refused_until_its_transaction_ends(database: Database, tenant_id: str) -> None:
    with database.session() as first:
        assert find_replay(first, tenant_id=tenant_id, key="k", body=BODY) is None
        with database.session() as second, pytest.raises(IdempotencyInProgress):
            find_replay(second, tenant_id=tenant_id, key="k", body=BODY)
    with database.session() as third:
        assert find_replay(third, tenant_id=tenant_id, key="k", body=BODY) is None


def test_keys_of_other_tenants_are_other_keys(database: Database, tenant_id: str) -> None:
    with database.session() as session:
        remember(session, tenant_id=tenant_id, key="k", body=BODY, response={})
    with database.session() as session:
        assert find_replay(session, tenant_id=new_id("ten"), key="k", body=BODY) is None


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve", "a\nb"])
def test_a_key_that_is_no_short_printable_ascii_is_refused(database: Database, tenant_id: str, key: str) -> None:
    with database.session() as session, pytest.raises(MalformedRequest) as caught:
        find_replay(session, tenant_id=tenant_id, key=key, body=BODY)
    assert caught.value.code == "invalid_idempotency_key"
