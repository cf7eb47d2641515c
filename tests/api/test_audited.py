"""Writing calls down, however many come at once."""

from concurrent.futures import ThreadPoolExecutor

import httpx

from api.app import create_app
from services.identifiers import new_id
from tests.api.server import serving
from tests.factories import add_job


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
