"""The page on webhooks: its requests are sent, its receiver verifies what the service really delivers."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from services.config import Settings
from services.db.engine import Database
from services.jobs.schema import JobRequest
from services.webhooks import deliveries, service
from services.webhooks.delivery import deliver, take_turn
from services.webhooks.filters import JOB_EVENTS
from services.webhooks.schema import WebhookRequest
from tests.receiver import HOST, leads_to

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    [text] = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def test_the_requests_of_the_page_are_valid() -> None:
    assert WebhookRequest.model_validate(json.loads(block("json webhook"))).events
    assert JobRequest.model_validate(json.loads(block("json job"))).webhook is not None
    named = set(re.findall(r"`(job\.[a-z_]+)", PAGE)) - {"job.state_changed"}
    assert named <= set(JOB_EVENTS)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[Any, int, str]]:
    """The receiver of the page, behind https."""
    names: dict[str, Any] = {}
    exec(block("python receiver"), names)  # the page is ours
    handler = type("Quiet", (names["Receiver"],), {"log_message": lambda *_: None})
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield names, server.server_address[1], str(tmp_path / "ca.pem")
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("own", [True, False])
def test_the_receiver_of_the_page_takes_what_is_signed_with_its_secret_once(  # noqa: PLR0917 - fixtures
    receiver: tuple[Any, int, str],
    database: Database,
    tenant_id: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own: bool,
) -> None:
    names, port, ca_file = receiver
    leads_to(monkeypatch, "127.0.0.1", port=port)
    allowed = replace(
        settings, webhook_hosts=(f"{HOST}:{port}",), remote_networks=("127.0.0.0/8",), remote_ca_file=ca_file
    )
    body = {"url": f"https://{HOST}:{port}/", **({"secret": names["Receiver"].secret} if own else {})}
    with database.session() as session:
        made = service.create(session, tenant_id=tenant_id, body=body, settings=allowed).webhook
        sent = deliveries.send_test(session, tenant_id=tenant_id, webhook_id=made["id"])
    ids = {"tenant_id": tenant_id, "webhook_id": made["id"], "event_id": sent["id"]}

    def turn() -> dict[str, Any]:
        with database.session() as session:
            found = take_turn(session)
        assert found is not None
        deliver(database, found, allowed)
        with database.read_session() as session:
            return deliveries.get_delivery(session, **ids)

    first = turn()
    assert first["tries"][0]["status"] == (204 if own else 401)
    if own:
        with database.session() as session:
            deliveries.redeliver(session, **ids)
        assert [one["status"] for one in turn()["tries"]] == [204, 204]
        assert capsys.readouterr().out == "webhook.test None None\n"
        assert names["SEEN"] == {sent["id"]}
    with database.session() as session:
        service.delete_webhook(session, tenant_id=tenant_id, webhook_id=made["id"])
