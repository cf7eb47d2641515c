"""A route that is to go says so in every answer, refusals too, and in the document; every answer has the version."""

from datetime import UTC, datetime
from importlib.metadata import version

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from api import errors
from api.deprecation import deprecated
from api.http_metrics import HttpMetrics
from api.middleware import RequestContext
from services.errors import NotFound

SINCE, SUNSET = datetime(2026, 11, 23, tzinfo=UTC), datetime(2027, 5, 23, tzinfo=UTC)
router = APIRouter()
GOING = deprecated(since=SINCE, sunset=SUNSET, successor="/v1/new")


@router.get("/v1/old/{name}", **GOING)
def get_old(name: str) -> dict[str, str]:
    if name == "absent":
        raise NotFound()
    return {"name": name}


@router.get("/v1/new")
def get_new() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def retiring():
    app = FastAPI()
    app.include_router(router)
    app.add_middleware(RequestContext)
    errors.install(app)
    app.state.http_metrics = HttpMetrics(app)
    return app


@pytest.mark.parametrize(("path", "status"), [("/v1/old/x", 200), ("/v1/old/absent", 404)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_route_that_is_to_go_says_when_and_what_comes_instead(retiring, path, status, method):
    answer = TestClient(retiring).request(method, path)
    assert answer.status_code == status
    assert answer.headers["deprecation"] == "@1795392000"  # RFC 9745: seconds since 1970
    assert answer.headers["sunset"] == "Sun, 23 May 2027 00:00:00 GMT"
    assert answer.headers["link"] == '</v1/new>; rel="successor-version"'


def test_the_document_says_so_and_other_routes_say_nothing(retiring):
    assert retiring.openapi()["paths"]["/v1/old/{name}"]["get"]["deprecated"] is True
    answer = TestClient(retiring).get("/v1/new")
    assert {"deprecation", "sunset", "link"} & set(answer.headers) == set()


@pytest.mark.parametrize("path", ["/healthz", "/v1/jobs", "/nothing", "/docs"])
def test_every_answer_names_the_version(anonymous, path):
    assert anonymous.get(path).headers["modelwright-version"] == version("modelwright")
