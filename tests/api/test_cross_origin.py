"""Pages of other origins: none by default, those that the operator names, every one with ``*``."""

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from services.config import load_settings

PAGE = "https://app.example"


@pytest.fixture
def asked_from(api_settings):
    def ask(*origins):
        # Not started: neither health nor a refusal needs a part of the service.
        return TestClient(create_app(replace(api_settings, cors_origins=origins)))

    return ask


def preflight(client, origin=PAGE, method="POST", headers="authorization, content-type, idempotency-key"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return client.options("/v1/jobs", headers=asked)


def test_by_default_no_page_of_another_origin_may_look(asked_from):
    client = asked_from()
    assert "access-control-allow-origin" not in client.get("/healthz", headers={"Origin": PAGE}).headers
    assert preflight(client).status_code == 405


def test_a_page_that_is_named_may_send_what_the_calls_take_and_see_what_they_answer(asked_from):
    client = asked_from(PAGE)
    answer = preflight(client)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    seen = client.get("/healthz", headers={"Origin": PAGE}).headers
    assert seen["access-control-allow-origin"] == PAGE
    assert {"ETag", "Location", "Retry-After", "X-Request-Id"} <= set(seen["access-control-expose-headers"].split(", "))
    assert "Origin" in seen["vary"]


def test_another_page_is_refused_and_a_strange_header_too(asked_from):
    client = asked_from(PAGE)
    assert preflight(client, origin="https://evil.example").status_code == 400
    assert preflight(client, headers="x-strange").status_code == 400
    other = client.get("/healthz", headers={"Origin": "https://evil.example"}).headers
    assert "access-control-allow-origin" not in other


def test_a_refusal_can_be_read_by_the_page_too(asked_from):
    answer = asked_from(PAGE).get("/nothing", headers={"Origin": PAGE})
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_a_star_is_every_page(asked_from):
    assert preflight(asked_from("*"), origin="https://any.example").headers["access-control-allow-origin"] == "*"


def test_the_origins_come_from_the_environment(database_url, redis_url):
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    assert load_settings(environment).cors_origins == ()
    named = load_settings({**environment, "MODELWRIGHT_CORS_ORIGINS": f"{PAGE}, https://b.example"})
    assert named.cors_origins == (PAGE, "https://b.example")
