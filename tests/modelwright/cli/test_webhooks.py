import json

from modelwright.cli import webhooks as commands
from tests.modelwright.cli.test_commands import page, run  # noqa: F401 - the fixture
from tests.modelwright.scripted import reply, scripted

ID, EVENT = "whk_06f8aaaaaaaaaaaaaaaaaaaaaa", "evt_06f8aaaaaaaaaaaaaaaaaaaaaa"
URL = "https://hooks.example.com/x"


def webhook(**more):
    return {
        "id": ID,
        "url": URL,
        "events": ["job.*"],
        "enabled": True,
        "disabled_reason": None,
        "failing_since": None,
        "last_delivered_at": None,
        **more,
    }


def delivery(*tries, state="pending"):
    return {"id": EVENT, "state": state, "event_type": "webhook.test", "tried": len(tries), "tries": list(tries)}


OK = {"status": 200, "latency_ms": 12.4, "error": None}
REFUSED = {"status": None, "latency_ms": 1.0, "error": "cannot be reached"}


def test_a_webhook_is_created_and_its_secret_printed(run):  # noqa: F811
    with scripted(reply(201, webhook(secret="whsec_x"))) as service:
        assert run("webhooks", "create", URL, "-e", "job.*", service=service) == (0, f"{ID}\nwhsec_x\n", "")
    assert json.loads(service.requests[0][3]) == {"url": URL, "events": ["job.*"]}


def test_webhooks_are_listed_and_shown(run):  # noqa: F811
    off = webhook(enabled=False, disabled_reason="failing", events=[])
    with scripted(reply(200, page(webhook(), off))) as service:
        code, text, _ = run("webhooks", "list", service=service)
    assert (code, text) == (0, f"{ID}\ton\tjob.*\t{URL}\t\n{ID}\toff\t–\t{URL}\t\n")
    with scripted(reply(200, off)) as service:
        _, text, _ = run("webhooks", "show", ID, service=service)
    assert "off (failing)" in text
    assert "those that jobs ask for" in text


def test_it_is_switched_rotated_and_deleted(run):  # noqa: F811
    answers = [reply(200, webhook(enabled=False)), reply(200, webhook()), reply(200, webhook(secret="whsec_y"))]
    with scripted(*answers, reply(204, None)) as service:
        assert run("webhooks", "disable", ID, service=service)[:2] == (0, f"{ID}  off\n")
        assert run("webhooks", "enable", ID, service=service)[:2] == (0, f"{ID}  on\n")
        assert run("webhooks", "rotate", ID, service=service)[:2] == (0, "whsec_y\n")
        assert run("webhooks", "delete", ID, service=service)[0] == 0
    assert [(method, where) for method, where, _, _ in service.requests] == [
        ("PATCH", f"/v1/webhooks/{ID}"),
        ("PATCH", f"/v1/webhooks/{ID}"),
        ("POST", f"/v1/webhooks/{ID}/rotate-secret"),
        ("DELETE", f"/v1/webhooks/{ID}"),
    ]
    assert json.loads(service.requests[0][3]) == {"enabled": False}


def test_a_test_waits_for_the_answer_and_says_it(run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(commands, "_POLL_SECONDS", 0.0)
    with scripted(
        reply(202, delivery()), reply(200, delivery()), reply(200, delivery(OK, state="succeeded"))
    ) as service:
        assert run("webhooks", "test", ID, service=service) == (0, "HTTP 200 in 12 ms\n", "")
    with scripted(reply(202, delivery()), reply(200, delivery(REFUSED))) as service:
        assert run("webhooks", "test", ID, service=service)[:2] == (1, "cannot be reached\n")
    monkeypatch.setattr(commands, "_TEST_SECONDS", 0.0)
    with scripted(reply(202, delivery())) as service:
        code, _, said = run("webhooks", "test", ID, service=service)
    assert code == 1
    assert "scheduler" in said


def test_deliveries_are_listed_and_repeated(run):  # noqa: F811
    with scripted(reply(200, page(delivery(REFUSED)))) as service:
        code, text, _ = run("webhooks", "deliveries", ID, "--state", "pending", service=service)
    assert (code, text) == (0, f"{EVENT}\tpending\twebhook.test\t1\tcannot be reached\n")
    assert "status=pending" in service.requests[0][1]
    with scripted(reply(202, delivery())) as service:
        assert run("webhooks", "redeliver", ID, EVENT, service=service)[:2] == (0, f"{EVENT}  pending\n")
