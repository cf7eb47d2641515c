"""Health with servers that die and come back: what is said, and what still works."""

import subprocess
import sys
import time

import httpx
import pytest
from sqlalchemy import text

from api.app import create_app
from modelwright.server.postgres import PostgresServer
from modelwright.server.valkey import ValkeyServer
from services import health
from services.config import load_settings
from services.db.engine import Database
from services.db.migrate import migrate
from services.identifiers import new_id
from services.telemetry.counters import note_seen
from services.tenants import service as tenants
from tests.api.server import serving
from tests.factories import add_job


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """PostgreSQL and Valkey of this module's own, to be killed."""
    postgres = PostgresServer(tmp_path_factory.mktemp("own") / "data")
    valkey = ValkeyServer(tmp_path_factory.mktemp("own_valkey"))
    postgres.start()
    valkey.start()
    yield postgres, valkey
    valkey.stop()
    postgres.stop()


@pytest.fixture(scope="module")
def own(servers, tmp_path_factory):
    postgres, valkey = servers
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://", 1)
    migrate(url)
    database = Database(url)
    with database.session() as session:
        tenant = tenants.create_tenant(session, name="own")
        key, _ = tenants.create_key(session, tenant_id=tenant.id)
    environment = {
        "DATABASE_URL": url,
        "REDIS_URL": valkey.url,
        "MODELWRIGHT_DATA_DIR": str(tmp_path_factory.mktemp("d")),
    }
    with serving(create_app(load_settings(environment))) as address:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=address, headers=headers, timeout=30, verify=False) as client:
            yield client, database, tenant.id
    database.close()


def words(answer):
    return {name: component["status"] for name, component in answer.json()["components"].items()}


def test_a_healthy_service_says_so(own):
    client, database, _ = own
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["components"]["scheduler"]["detail"].startswith("No scheduler was ever seen")
    with database.session() as session:
        note_seen(session, part="scheduler")
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")
    assert words(ready) == {"database": "ok", "redis": "ok", "workers": "ok", "scheduler": "ok"}


def test_redis_away_is_degraded_and_back_is_ok(own, servers):
    client, _, _ = own
    servers[1].kill()
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert words(ready) == {"database": "ok", "redis": "degraded", "workers": "ok", "scheduler": "ok"}
    servers[1].start()
    assert words(client.get("/readyz"))["redis"] == "ok"


def test_a_scheduler_that_is_no_longer_seen_is_told(own):
    client, database, _ = own
    with database.session() as session:
        session.execute(text("UPDATE service_part SET seen_at = now() - interval '40 s'"))
    ready = client.get("/readyz")
    assert (ready.status_code, words(ready)["scheduler"]) == (200, "degraded")
    with database.session() as session:
        note_seen(session, part="scheduler")
    assert words(client.get("/readyz"))["scheduler"] == "ok"


def test_jobs_that_nobody_takes_are_told(own, monkeypatch):
    client, database, tenant_id = own
    monkeypatch.setattr(health, "UNCLAIMED_SECONDS", 0)
    add_job(database, tenant_id)
    ready = client.get("/readyz")
    assert (ready.status_code, words(ready)["workers"]) == (200, "degraded")


def test_postgresql_away_is_503_with_a_time_to_come_back_and_then_all_is_well(own, servers, problem):
    client, _, _ = own
    assert client.get("/v1/jobs").status_code == 200
    servers[0].kill()
    deadline = time.monotonic() + 10
    while client.get("/v1/jobs").status_code == 200:  # a backend answers until it sees that its postmaster is gone
        assert time.monotonic() < deadline
    absent = new_id("job")
    for answer in (client.get("/v1/jobs"), client.get(f"/v1/jobs/{absent}"), client.post(f"/v1/jobs/{absent}/cancel")):
        assert problem(answer, 503)["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) > 0
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "down")
    assert words(ready)["database"] == "down"
    assert client.get("/healthz").status_code == 200

    servers[0].start()
    deadline = time.monotonic() + 10
    while client.get("/v1/jobs").status_code == 503:  # the pool drops its dead connections one by one
        assert time.monotonic() < deadline
    assert client.get("/readyz").json()["components"]["database"]["status"] == "ok"


def test_importing_the_application_loads_nothing_heavy_and_opens_nothing(environment):
    program = (
        "import sys, api.main\n"
        "heavy = sorted({'torch', 'sklearn', 'safetensors', 'numba', 'pandas'} & set(sys.modules))\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    nowhere = {
        **environment,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    done = subprocess.run([sys.executable, "-c", program], env=nowhere, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
