"""Webhooks over HTTP: off by default; where a host is allowed, one is created, changed, tested, looked at, deleted."""

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from api import examples
from api.webhook_examples import CHANGES, WEBHOOKS
from services.db.webhook_models import Webhook
from tests.factories import add_job
from tests.receiver import leads_to

URL = "https://hooks.example.com/modelwright"
JOB = examples.REQUESTS["short"]["value"]


@pytest.mark.parametrize("address", [URL, "https://169.254.169.254/latest/", "http://hooks.example.com/", "x"])
def test_by_default_nobody_is_called_and_no_packet_is_sent(client, problem, address, monkeypatch):
    real = socket.getaddrinfo
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **n: asked.append(host) or real(host, *a, **n))
    found = problem(client.post("/v1/webhooks", json={"url": address}), 422)
    assert [(one["code"], one["pointer"]) for one in found["errors"]] == [("url_not_allowed", "/url")]
    found = problem(client.post("/v1/jobs", json={**JOB, "webhook": address}), 422)
    assert [(one["code"], one["pointer"]) for one in found["errors"]] == [("url_not_allowed", "/webhook/url")]
    assert set(asked) <= {"127.0.0.1"}  # our own client's
    assert client.get("/v1/webhooks").json()["data"] == []
    assert client.get("/v1/jobs").json()["data"] == []


@pytest.fixture
def allowed(app, url, monkeypatch):
    """The operator allows one host, whose name leads to a public address."""
    parts = app.state.parts
    app.state.parts = replace(
        parts, settings=replace(parts.settings, webhook_hosts=("*.example.com",), max_tenant_webhooks=5)
    )
    asked = leads_to(monkeypatch, "93.184.216.34", port=443, host="hooks.example.com")
    yield asked
    app.state.parts = parts


@pytest.fixture
def made(client, allowed):
    answer = client.post("/v1/webhooks", json={"url": URL, "events": ["*"]})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize("example", WEBHOOKS.values(), ids=[*WEBHOOKS])
def test_the_examples_are_created_and_their_secret_is_shown_once(client, allowed, example):
    answer = client.post("/v1/webhooks", json=example["value"])
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    found = answer.json()
    assert found["secret"] == example["value"].get("secret", found["secret"])
    assert found["secret"].startswith("whsec_")
    plain = client.get(answer.headers["location"]).json()
    assert plain == {name: value for name, value in found.items() if name != "secret"}
    assert client.get("/v1/webhooks").json()["data"] == [plain]
    for change in CHANGES.values():
        changed = client.patch(answer.headers["location"], json=change["value"]).json()
        assert changed.items() >= change["value"].items()


def test_a_repeated_create_makes_one_and_shows_the_same(client, allowed):
    answers = [client.post("/v1/webhooks", json={"url": URL}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotent-replayed"] == "true"


def test_a_repeated_rotation_makes_one_secret_and_leaves_the_old_one_to_sign(client, made, database):
    where, headers = f"/v1/webhooks/{made['id']}/rotate-secret", {"Idempotency-Key": "k"}
    first, again = (client.post(where, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert {one.headers["cache-control"] for one in (first, again)} == {"no-store"}
    with database.read_session() as session:
        kept = session.get(Webhook, made["id"])
    assert (kept.secret, kept.old_secret) == (first.json()["secret"], made["secret"])


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "missing", "/url"),
        ({"url": 7}, "string_type", "/url"),
        ({"url": ""}, "out_of_range", "/url"),
        ({"url": "https://hooks.example.com/" + "x" * 2000}, "out_of_range", "/url"),
        ({"url": URL, "event": []}, "extra_forbidden", "/event"),
        ({"url": URL, "tenant_id": "ten_1"}, "extra_forbidden", "/tenant_id"),
        ({"url": URL, "events": ["job.succeeded"]}, "unknown_event", "/events/0"),
        ({"url": URL, "events": "*"}, "list_type", "/events"),
        ({"url": URL, "events": ["*"] * 100}, "out_of_range", "/events"),
        ({"url": URL, "secret": "whsec_c2hvcnQ="}, "invalid_secret", "/secret"),
        ({"url": URL, "secret": "secret"}, "invalid_secret", "/secret"),
        ({"url": URL, "secret": "whsec_ä"}, "invalid_secret", "/secret"),
        ({"url": "https://evil.example.org/"}, "url_not_allowed", "/url"),
        ({"url": "https://user:pw@hooks.example.com/"}, "url_not_allowed", "/url"),
        ({"url": "https://hooks.example.com:8443/"}, "url_not_allowed", "/url"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(client, problem, body, code, pointer):
    found = problem(client.post("/v1/webhooks", json=body), 422)
    assert [(one["code"], one["pointer"]) for one in found["errors"]] == [(code, pointer)]


def test_a_name_that_leads_inside_is_refused_at_creation_and_at_a_change(client, made, problem, monkeypatch):
    leads_to(monkeypatch, "10.0.0.7", port=443, host="hooks.example.com")
    assert problem(client.post("/v1/webhooks", json={"url": URL}), 422)["code"] == "url_not_allowed"
    found = problem(client.patch(f"/v1/webhooks/{made['id']}", json={"url": URL + "/2"}), 422)
    assert found["code"] == "url_not_allowed"
    found = problem(client.post("/v1/jobs", json={**JOB, "webhook": URL}), 422)
    assert (found["code"], found["errors"][0]["pointer"]) == ("url_not_allowed", "/webhook/url")


def test_it_is_switched_off_and_on_changed_and_deleted(client, made, problem):
    where = f"/v1/webhooks/{made['id']}"
    off = client.patch(where, json={"enabled": False}).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "by_request")
    assert off["disabled_at"]
    assert problem(client.post(f"{where}/test"), 409)["code"] == "webhook_disabled"
    on = client.patch(where, json={"enabled": True, "events": [], "url": URL + "/2"}).json()
    assert (on["enabled"], on["disabled_reason"], on["events"], on["url"]) == (True, None, [], URL + "/2")
    rotated = client.post(f"{where}/rotate-secret")
    assert rotated.headers["cache-control"] == "no-store"
    assert rotated.json()["secret"] != made["secret"]
    assert client.delete(where).status_code == 204
    for answer in (client.get(where), client.delete(where), client.post(f"{where}/test")):
        assert problem(answer, 404)["code"] == "not_found"


def test_a_test_is_accepted_and_can_be_followed_and_repeated(client, made, problem):
    where = f"/v1/webhooks/{made['id']}"
    sent = client.post(f"{where}/test")
    assert (sent.status_code, sent.json()["state"]) == (202, "pending")
    found = client.get(sent.headers["location"]).json()
    assert (found["id"], found["event_type"], found["tries"]) == (sent.json()["id"], "webhook.test", [])
    again = client.post(f"{sent.headers['location']}/redeliver")
    assert (again.status_code, again.json()["id"]) == (202, found["id"])
    second = client.post(f"{where}/test").json()["id"]
    first = client.get(f"{where}/deliveries?limit=1").json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == ([second], True)
    rest = client.get(f"{where}/deliveries?after={first['last_id']}&status=pending").json()["data"]
    assert [one["id"] for one in rest] == [found["id"]]
    assert client.get(f"{where}/deliveries?status=failed").json()["data"] == []
    assert problem(client.get(f"{where}/deliveries?status=lost"), 422)["code"] == "unknown_value"
    for cursor in ("evt_0", made["id"], "evt_" + "0" * 26):
        assert problem(client.get(f"{where}/deliveries?after={cursor}"), 422)["code"] == "invalid_cursor"
    assert problem(client.get(f"{where}/deliveries/evt_{'0' * 26}"), 404)["code"] == "not_found"
    assert problem(client.get(f"{where}/deliveries/x"), 422)["code"] == "invalid_id"


def test_another_tenants_webhook_is_not_there(client, made, make_caller, problem):
    sent = client.post(f"/v1/webhooks/{made['id']}/test").headers["location"]
    other = make_caller().client
    where = f"/v1/webhooks/{made['id']}"
    answers = [
        other.get(where),
        other.patch(where, json={"enabled": False}),
        other.delete(where),
        other.post(f"{where}/test"),
        other.post(f"{where}/rotate-secret"),
        other.get(f"{where}/deliveries"),
        other.get(sent),
        other.post(f"{sent}/redeliver"),
    ]
    assert [problem(answer, 404)["code"] for answer in answers] == ["not_found"] * len(answers)
    assert other.get("/v1/webhooks").json()["data"] == []
    found = problem(other.post("/v1/jobs", json={**JOB, "webhook": made["id"]}), 422)
    assert (found["code"], found["errors"][0]["pointer"]) == ("unknown_webhook", "/webhook")


def test_scopes_are_asked_for(make_caller, allowed, problem):
    reader = make_caller(scopes=["webhooks:read"]).client
    assert reader.get("/v1/webhooks").status_code == 200
    assert problem(reader.post("/v1/webhooks", json={"url": URL}), 403)["code"] == "insufficient_scope"
    assert problem(make_caller(scopes=["jobs:read"]).client.get("/v1/webhooks"), 403)["code"] == "insufficient_scope"


def test_a_tenant_has_only_so_many(client, allowed, problem):
    for number in range(5):
        assert client.post("/v1/webhooks", json={"url": f"{URL}/{number}"}).status_code == 201
    for body in ({"url": URL}, {**JOB, "webhook": URL + "/new"}):
        answer = client.post("/v1/jobs" if "model" in body else "/v1/webhooks", json=body)
        assert problem(answer, 429)["code"] == "quota_exceeded"
    assert client.get("/v1/jobs").json()["data"] == []
    assert client.post("/v1/jobs", json={**JOB, "webhook": f"{URL}/0"}).status_code == 201


def test_a_jobs_address_becomes_one_webhook_for_all_jobs_that_name_it(client, allowed):
    first = client.post("/v1/jobs", json={**JOB, "webhook": URL}).json()
    second = client.post("/v1/jobs", json={**JOB, "webhook": {"url": URL, "events": ["job.*"]}}).json()
    [webhook] = client.get("/v1/webhooks").json()["data"]
    assert (webhook["url"], webhook["events"]) == (URL, [])
    assert first["webhook"] == {"id": webhook["id"], "events": ["job.state_changed"]}
    assert second["webhook"] == {"id": webhook["id"], "events": ["job.*"]}
    third = client.post("/v1/jobs", json={**JOB, "webhook": webhook["id"]}).json()
    assert third["webhook"]["id"] == webhook["id"]
    plain = client.post("/v1/jobs", json=JOB).json()
    assert plain["webhook"] is None
    # Its very first event was put into the outbox in the transaction that made the job.
    told = client.get(f"/v1/webhooks/{webhook['id']}/deliveries").json()["data"]
    assert [one["job_id"] for one in told] == [third["id"], second["id"], first["id"]]
    events = client.get(f"/v1/jobs/{first['id']}/events").json()["data"]
    assert told[-1]["id"] == events[0]["id"]


def test_jobs_that_bring_one_new_address_at_once_make_one_webhook(client, allowed):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/jobs", json={**JOB, "webhook": URL}), range(16)))
    assert [answer.status_code for answer in answers] == [201] * 16
    [webhook] = client.get("/v1/webhooks").json()["data"]
    assert {answer.json()["webhook"]["id"] for answer in answers} == {webhook["id"]}


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("webhook", "code", "pointer"),
    [
        ({}, "conflict", "/webhook"),
        ({"id": "whk_x", "url": URL}, "conflict", "/webhook"),
        ("whk_x", "unknown_webhook", "/webhook"),
        (7, "dict_type", "/webhook"),
        ({"url": URL, "events": ["x"]}, "unknown_event", "/webhook/events/0"),
        ({"url": URL, "secret": "whsec_x"}, "extra_forbidden", "/webhook/secret"),
    ],
)
def test_what_is_wrong_with_a_jobs_webhook_is_told_with_its_place(client, problem, webhook, code, pointer):
    for path in ("/v1/jobs", "/v1/jobs?validate_only=true"):
        found = problem(client.post(path, json={**JOB, "webhook": webhook}), 422)
        assert [(one["code"], one["pointer"]) for one in found["errors"]] == [(code, pointer)]


def test_a_job_goes_its_way_whatever_becomes_of_its_webhook(caller, made, database):
    job_id = add_job(database, caller.tenant_id, webhook_id=made["id"], webhook_events=["*"])
    assert caller.client.post(f"/v1/jobs/{job_id}/pause").json()["state"] == "paused"
    assert caller.client.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    told = caller.client.get(f"/v1/webhooks/{made['id']}/deliveries").json()["data"]
    assert [one["state"] for one in told] == ["pending", "pending"]
    assert caller.client.delete(f"/v1/webhooks/{made['id']}").status_code == 204
    assert caller.client.get(f"/v1/jobs/{job_id}").status_code == 200


def test_a_webhook_has_a_tag_and_is_changed_and_deleted_only_as_it_is_known(client, made, problem):
    where = f"/v1/webhooks/{made['id']}"
    known = client.get(where)
    tag = known.headers["etag"]
    unchanged = client.get(where, headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    changed = client.patch(where, json={"events": []}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json()["events"]) == (200, [])
    assert changed.headers["etag"] == client.get(where).headers["etag"] != tag
    for late in (
        client.patch(where, json={"events": ["*"]}, headers={"If-Match": tag}),
        client.patch(where, json={"enabled": False}, headers={"If-Match": f"W/{changed.headers['etag']}"}),
        client.delete(where, headers={"If-Match": tag}),
    ):
        assert problem(late, 412)["code"] == "precondition_failed"
    assert (client.get(where).json()["events"], client.get(where).json()["enabled"]) == ([], True)
    assert client.delete(where, headers={"If-Match": changed.headers["etag"]}).status_code == 204


def test_what_a_webhook_was_told_meanwhile_is_a_new_answer_and_no_change_to_who_changes_it(client, made, database):
    where = f"/v1/webhooks/{made['id']}"
    tag = client.get(where).headers["etag"]
    with database.session() as session:
        session.execute(text("UPDATE webhook SET last_delivered_at = now() WHERE id = :id"), {"id": made["id"]})
    told = client.get(where, headers={"If-None-Match": tag})
    assert (told.status_code, told.json()["last_delivered_at"] is None) == (200, False)
    assert client.patch(where, json={"enabled": False}, headers={"If-Match": tag}).status_code == 200


def test_of_many_who_change_the_same_webhook_one_wins(client, made):
    where = f"/v1/webhooks/{made['id']}"
    tag = client.get(where).headers["etag"]

    def change(_: int) -> int:
        return client.patch(where, json={"enabled": False}, headers={"If-Match": tag}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(change, range(8))) == [200] + [412] * 7
