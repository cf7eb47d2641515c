"""Keys over HTTP: shown once, no more than their maker, rotated with an overlap, refused everywhere once revoked."""

import os
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.app import create_app
from services.db.models import ApiKey
from tests.api.server import serving
from tests.stack import until


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


def make(client, expected=201, **body):
    answer = client.post("/v1/keys", json={"scopes": ["jobs:read"], **body})
    assert answer.status_code == expected, answer.text
    return answer.json()


def age(database, key_id, **delta):
    """Let a key have been made, and end, earlier."""
    with database.session() as session:
        row = session.get(ApiKey, key_id)
        row.created_at -= timedelta(**delta)
        row.expires_at = row.expires_at and row.expires_at - timedelta(**delta)


def test_a_key_is_shown_once_and_works(client, anonymous):
    answer = client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})
    made = answer.json()
    assert answer.headers["location"] == f"/v1/keys/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert anonymous.get("/v1/jobs", headers=bearer(made["api_key"])).status_code == 200
    looked = client.get(f"/v1/keys/{made['id']}")
    assert {**looked.json(), "last_used_at": None} == {name: made[name] for name in made if name != "api_key"}
    for answer in (looked, client.get("/v1/keys"), client.get("/v1/audit")):
        assert made["api_key"][12:55] not in answer.text


def test_a_key_knows_itself(make_caller):
    narrow = make_caller(scopes=["sweeps:read"], name="narrow")
    own = narrow.client.get("/v1/keys/self").json()
    assert (own["name"], own["scopes"], own["state"]) == ("narrow", ["sweeps:read"], "active")


def test_the_list_is_newest_first_by_pages_with_those_that_are_no_longer_good(client):
    made = [make(client, name=str(number))["id"] for number in range(3)]
    client.post(f"/v1/keys/{made[1]}/revoke")
    first = client.get("/v1/keys?limit=2").json()
    assert [one["id"] for one in first["data"]] == made[:0:-1]
    assert [one["state"] for one in first["data"]] == ["active", "revoked"]
    rest = client.get(f"/v1/keys?after={first['last_id']}").json()
    assert rest["data"][0]["id"] == made[0]
    assert not rest["has_more"]


def test_a_key_gives_no_scope_that_it_lacks(make_caller, problem):
    giver = make_caller(scopes=["keys:write", "jobs:read"])
    make(giver.client, scopes=["jobs:read"])
    make(giver.client, scopes=["keys:write"])
    for scopes in (["jobs:write"], ["*"], ["jobs:read", "models:read"]):
        refused = problem(giver.client.post("/v1/keys", json={"scopes": scopes}), 403)
        assert refused["code"] == "insufficient_scope"
        assert scopes[-1] in refused["detail"]


def test_a_key_gives_no_longer_life_than_its_own(make_caller, problem):
    ends = datetime.now(UTC) + timedelta(hours=1)
    giver = make_caller(expires_at=ends)
    inherited = make(giver.client)
    assert datetime.fromisoformat(inherited["expires_at"]) == ends
    shorter = make(giver.client, expires_in_seconds=60)
    assert datetime.fromisoformat(shorter["expires_at"]) < ends
    refused = problem(giver.client.post("/v1/keys", json={"scopes": ["jobs:read"], "expires_in_seconds": 7200}), 422)
    assert (refused["code"], refused["errors"][0]["pointer"]) == ("out_of_range", "/expires_in_seconds")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"scopes": ["jobs:reed"]}, "unknown_scope", "/scopes/0"),
        ({"scopes": ["jobs:read", "admin"]}, "unknown_scope", "/scopes/1"),
        ({"scopes": []}, "unknown_scope", "/scopes"),
        ({}, "missing", "/scopes"),
        ({"scopes": "jobs:read"}, "list_type", "/scopes"),
        ({"scopes": ["jobs:read"], "tenant_id": "ten_1"}, "extra_forbidden", "/tenant_id"),
        ({"scopes": ["jobs:read"], "expires_in_seconds": 0}, "out_of_range", "/expires_in_seconds"),
        ({"scopes": ["jobs:read"], "expires_in_seconds": 10**12}, "out_of_range", "/expires_in_seconds"),
        ({"scopes": ["jobs:read"], "name": "x" * 201}, "out_of_range", "/name"),
    ],
)
def test_wrong_requests_are_told_where(client, problem, body, code, pointer):
    refused = problem(client.post("/v1/keys", json=body), 422)
    assert (refused["errors"][0]["code"], refused["errors"][0]["pointer"]) == (code, pointer)


def test_a_repeat_with_the_same_idempotency_key_makes_no_second_key_and_shows_no_secret(client, database):
    headers = {"Idempotency-Key": os.urandom(8).hex()}
    body = {"scopes": ["jobs:read"], "name": "once"}
    first, second = (client.post("/v1/keys", json=body, headers=headers) for _ in range(2))
    assert first.json()["api_key"]
    assert second.json() == {**first.json(), "api_key": None}
    assert second.headers["idempotent-replayed"] == "true"
    assert [one["name"] for one in client.get("/v1/keys").json()["data"]].count("once") == 1
    assert (
        client.post("/v1/keys", json={**body, "name": "two"}, headers=headers).json()["code"] == "idempotency_mismatch"
    )


def test_rotation_leaves_the_old_key_good_for_the_overlap_and_no_longer(client, anonymous, database, problem):
    old = make(client, name="nightly", expires_in_seconds=86_400)
    new = client.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_seconds": 3600}).json()
    assert (new["name"], new["scopes"], new["state"]) == (old["name"], old["scopes"], "active")
    for text in (old["api_key"], new["api_key"]):
        assert anonymous.get("/v1/jobs", headers=bearer(text)).status_code == 200
    looked = client.get(f"/v1/keys/{old['id']}").json()
    assert looked["rotated_to"] == new["id"]
    assert looked["expires_at"] < new["expires_at"]
    again = client.post(f"/v1/keys/{old['id']}/rotate", json={})
    assert problem(again, 409)["code"] == "key_not_active"

    now = client.post(f"/v1/keys/{new['id']}/rotate", json={"overlap_seconds": 0}).json()
    until(lambda: anonymous.get("/v1/jobs", headers=bearer(new["api_key"])).status_code == 401, seconds=60)
    assert problem(anonymous.get("/v1/jobs", headers=bearer(new["api_key"])), 401)["code"] == "key_expired"
    assert anonymous.get("/v1/jobs", headers=bearer(now["api_key"])).status_code == 200


def test_rotation_is_no_way_to_more_scopes_or_a_longer_life(make_caller, database, problem):
    strong = make_caller()
    strong_id = strong.client.get("/v1/keys/self").json()["id"]
    weak = make_caller(scopes=["keys:write"], tenant_id=strong.tenant_id)
    assert problem(weak.client.post(f"/v1/keys/{strong_id}/rotate", json={}), 403)["code"] == "insufficient_scope"

    ends = datetime.now(UTC) + timedelta(hours=2)
    short = make_caller(expires_at=ends)
    own = short.client.get("/v1/keys/self").json()["id"]
    age(database, own, hours=1)
    rotated = short.client.post(f"/v1/keys/{own}/rotate", json={}).json()
    assert datetime.fromisoformat(rotated["expires_at"]) == ends - timedelta(hours=1)


def test_of_many_rotations_at_once_one_makes_a_key(client, url, caller):
    old = make(client)
    barrier, statuses = threading.Barrier(6), []

    def rotate():
        with httpx.Client(base_url=url, headers=bearer(caller.key), timeout=60) as own:
            barrier.wait()
            statuses.append(own.post(f"/v1/keys/{old['id']}/rotate", json={}).status_code)

    threads = [threading.Thread(target=rotate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 5


def test_revoking_twice_is_revoking_once(client, anonymous, problem):
    made = make(client)
    first = client.post(f"/v1/keys/{made['id']}/revoke").json()
    assert first["state"] == "revoked"
    assert client.post(f"/v1/keys/{made['id']}/revoke").json()["revoked_at"] == first["revoked_at"]
    assert problem(client.post(f"/v1/keys/{made['id']}/rotate", json={}), 409)["code"] == "key_not_active"


def test_every_process_refuses_a_revoked_key_within_a_second(api_settings, client, url, problem):
    made = make(client)
    with serving(create_app(api_settings)) as other, httpx.Client(timeout=60) as plain:

        def status(address):
            return plain.get(f"{address}/v1/jobs", headers=bearer(made["api_key"])).status_code

        assert (status(url), status(other)) == (200, 200)
        assert httpx.post(f"{other}/v1/keys/{made['id']}/revoke", headers=client.headers).status_code == 200
        threading.Event().wait(1.0)  # what is promised; whatever comes later than that finds the door shut
        assert (status(url), status(other)) == (401, 401)


def test_a_key_that_is_revoked_while_it_waits_gets_no_answer(client, anonymous, database, caller, problem):
    from tests.factories import add_job

    job = add_job(database, caller.tenant_id)
    made = make(client)
    answers = []

    def wait():
        answers.append(anonymous.get(f"/v1/jobs/{job}?wait=60", headers=bearer(made["api_key"]), timeout=90))

    thread = threading.Thread(target=wait)
    thread.start()
    threading.Event().wait(0.5)  # it waits by now, or its first look is refused: both are right
    client.post(f"/v1/keys/{made['id']}/revoke")
    threading.Event().wait(1.0)
    client.post(f"/v1/jobs/{job}/cancel")
    thread.join(90)
    assert problem(answers[0], 401)["code"] == "key_revoked"


def test_the_last_use_of_a_key_is_on_record_to_the_minute(client, anonymous, database):
    made = make(client)
    assert made["last_used_at"] is None
    anonymous.get("/v1/jobs", headers=bearer(made["api_key"]))
    used = client.get(f"/v1/keys/{made['id']}").json()["last_used_at"]
    assert used is not None
    with database.session() as session:
        session.get(ApiKey, made["id"]).last_used_at -= timedelta(seconds=30)
        thirty_seconds_ago = session.get(ApiKey, made["id"]).last_used_at
    threading.Event().wait(1.0)
    anonymous.get("/v1/jobs", headers=bearer(made["api_key"]))
    with database.read_session() as session:
        assert session.get(ApiKey, made["id"]).last_used_at == thirty_seconds_ago


def test_a_tenant_has_only_so_many_good_keys(client, database, caller, problem):
    from services.db.models import Tenant

    with database.session() as session:
        session.get(Tenant, caller.tenant_id).limits = {"keys": 3}
    made = [make(client) for _ in range(2)]
    refused = problem(client.post("/v1/keys", json={"scopes": ["jobs:read"]}), 429)
    assert refused["code"] == "quota_exceeded"
    assert "3" in refused["detail"]
    client.post(f"/v1/keys/{made[0]['id']}/revoke")
    make(client)


def test_an_id_that_is_none_is_told_so(client, problem):
    for wrong in ("key_1", "job_x", "key_0000000é"):
        assert problem(client.get(f"/v1/keys/{wrong}"), 422)["code"] == "invalid_id"
    assert problem(client.get("/v1/keys/key_00000000"), 404)["code"] == "not_found"
    assert problem(client.get("/v1/keys?after=key_00000000"), 422)["code"] == "invalid_cursor"
