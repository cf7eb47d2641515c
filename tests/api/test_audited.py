"""Writing calls down, however many come at once and however they end."""

import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from psycopg.errors import DiskFull
from sqlalchemy.exc import OperationalError, TimeoutError

from api.app import create_app
from api.errors import code_of
from services.errors import StorageFull, Unavailable
from services.identifiers import new_id
from tests.api.server import serving
from tests.factories import add_job
from tests.stack import until


def test_more_calls_at_once_than_threads_and_connections_wait_for_none_of_them(
    api_settings, caller, database, monkeypatch
):
    """Half of them find their job and hold their connection until the entry is made, half are refused."""
    monkeypatch.setattr("api.app.THREADS", 2)
    jobs = [add_job(database, caller.tenant_id) if number % 2 else new_id("job") for number in range(24)]
    headers = {"Authorization": f"Bearer {caller.key}"}
    limits = httpx.Limits(max_connections=len(jobs))
    with (
        serving(create_app(api_settings)) as url,
        httpx.Client(base_url=url, headers=headers, timeout=120, limits=limits) as client,
        ThreadPoolExecutor(len(jobs)) as pool,
    ):
        statuses = list(pool.map(lambda job: client.post(f"/v1/jobs/{job}/cancel").status_code, jobs))
    assert statuses == [404, 200] * 12
    entries = caller.client.get("/v1/audit", params={"limit": 100}).json()["data"]
    assert {one["object_id"]: one["status"] for one in entries} == dict(zip(jobs, statuses, strict=True))


def test_a_sender_who_went_away_was_refused_nothing(app, url, caller):
    counted = {"method": "POST", "route": "/v1/jobs", "status": "400"}

    def answered():
        return app.state.http_metrics.registry.get_sample_value("modelwright_http_requests_total", counted) or 0

    before = answered()
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.key}\r\n"
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as sender:
        sender.sendall(f'{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"mo'.encode())
    until(lambda: answered() > before, seconds=60)
    assert caller.client.get("/v1/audit").json()["data"] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("x", {}, DiskFull()), StorageFull.code),
        (OperationalError("x", {}, Exception()), Unavailable.code),
        (TimeoutError(), Unavailable.code),
    ],
)
def test_an_entry_has_the_code_that_the_answer_had(error, code):
    assert code_of(error) == (503, code)
