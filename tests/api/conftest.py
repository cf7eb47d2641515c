"""The API on a real socket over real servers, a tenant of each test's own, and rows to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

from api.app import create_app
from services.config import load_settings
from services.tenants import service as tenants
from tests.api.server import serving


@pytest.fixture(scope="session")
def database_url(postgres, migrated_template) -> str:
    """One database for all modules here: every test has tenants of its own, and one server is enough for them."""
    name = "test_api"
    engine = create_engine(with_driver(postgres.url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}"'))
    engine.dispose()
    return with_driver(postgres.database_url(name))


def with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture(scope="session", autouse=True)
def _line_read_for_each_look() -> Iterator[None]:
    """No place in the queue is a moment old here, as it may be elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.board.FRESH", 0)
        patch.setattr("api.board.NEWS", 0)
        yield


@pytest.fixture(scope="session")
def api_settings(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory):
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MODELWRIGHT_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "MODELWRIGHT_DEVICES": "cpu",
    }
    return load_settings(environment)


@pytest.fixture(scope="session")
def app(api_settings):
    return create_app(api_settings)


@pytest.fixture(scope="session")
def url(app) -> Iterator[str]:
    with serving(app) as address:
        yield address


@dataclass
class Caller:
    """A tenant with a key, and a client that sends it."""

    tenant_id: str
    key: str
    client: httpx.Client


@pytest.fixture
def make_caller(database, url):
    clients = []

    def make(scopes=("*",), tenant_id=None, **options) -> Caller:
        with database.session() as session:
            if tenant_id is None:
                tenant_id = tenants.create_tenant(session, name=os.urandom(8).hex()).id
            key, _ = tenants.create_key(session, tenant_id=tenant_id, scopes=scopes, **options)
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30, verify=False)
        clients.append(client)
        return Caller(tenant_id, key, client)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def caller(make_caller) -> Caller:
    return make_caller()


@pytest.fixture
def client(caller) -> httpx.Client:
    return caller.client


@pytest.fixture
def anonymous(url) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30, verify=False) as client:
        yield client


def problem_of(answer: httpx.Response, status: int) -> dict:
    """Check that an answer is a well-formed problem with this status, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id", "errors"} <= problem.keys()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"].endswith(problem["code"])
    assert "Traceback" not in answer.text
    assert str(Path(__file__).parents[2]) not in answer.text
    return problem


@pytest.fixture
def problem():
    return problem_of
