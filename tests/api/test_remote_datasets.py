"""Data sets from an address over HTTP: off by default; where a host is allowed, one is begun and looked at."""

import json
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from api import examples

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
REQUEST = examples.DATASETS["remote"]["value"]


def count(client):
    return len(client.get("/v1/datasets?owner=own").json()["data"])


@pytest.mark.parametrize("address", [REQUEST["url"], "https://169.254.169.254/latest/", "file:///etc/passwd", "x"])
def test_by_default_nothing_is_fetched_and_no_packet_is_sent(client, problem, address, monkeypatch):
    real = socket.getaddrinfo
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **n: asked.append(host) or real(host, *a, **n))
    found = problem(client.post("/v1/datasets", json={**REQUEST, "url": address}), 422)
    assert [(one["code"], one["pointer"]) for one in found["errors"]] == [("url_not_allowed", "/url")]
    assert set(asked) <= {"127.0.0.1"}  # our own client's
    assert count(client) == 0


@pytest.fixture
def allowed(app, url, monkeypatch):
    """The operator allows one host, whose name leads to a public address."""
    parts = app.state.parts
    settings = replace(parts.settings, remote_hosts=("data.example.org",))
    app.state.parts = replace(parts, settings=settings)
    real = socket.getaddrinfo
    leads_to = {"data.example.org": "93.184.216.34"}

    def answer(host, *arguments, **named):
        if host in leads_to:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (leads_to[host], 443))]
        return real(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    yield leads_to
    app.state.parts = parts


def test_the_example_of_the_page_is_begun_once_and_can_be_looked_at(caller, allowed, problem):
    client = caller.client
    [text] = re.findall(r"^```json fetch\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    headers = {"Idempotency-Key": "fetch"}
    begun, again = (client.post("/v1/datasets", json=json.loads(text), headers=headers) for _ in range(2))
    assert (begun.status_code, begun.json()["state"]) == (201, "fetching")
    assert again.json()["id"] == begun.json()["id"]
    path = begun.headers["Location"]
    nothing_yet = {"version": None, "received_bytes": 0, "size_bytes": None, "tries": 0, "error": None}
    fetch = {"url": json.loads(text)["url"], **nothing_yet}
    assert client.get(path).json()["fetch"] == fetch
    assert problem(client.post(f"{path}/complete"), 409)["code"] == "conflict"
    assert problem(client.put(f"{path}/parts/1", content=b"a,b\n"), 409)["code"] == "conflict"
    job = {**examples.REQUESTS["short"]["value"], "data": {"dataset": begun.json()["id"]}}
    assert problem(client.post("/v1/jobs", json=job), 422)["code"] == "dataset_not_ready"
    assert client.delete(path).status_code == 204
    assert count(client) == 0


def test_a_name_that_leads_inside_is_refused(client, allowed, problem):
    allowed["data.example.org"] = "10.0.0.7"
    assert problem(client.post("/v1/datasets", json=REQUEST), 422)["code"] == "url_not_allowed"


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"url": "https://data.example.org/x"}, "missing", "/format"),
        ({"url": "https://data.example.org/x", "columns": {"x": [1]}}, "conflict", "/url"),
        ({"url": "https://data.example.org/x", "format": "pickle"}, "unsupported_format", None),
        ({"url": "https://data.example.org/" + "x" * 2000, "format": "csv"}, "out_of_range", "/url"),
        ({"url": 7, "format": "csv"}, "string_type", "/url"),
    ],
)
def test_a_url_goes_with_a_format_and_nothing_else(client, allowed, body, code, pointer):
    answer = client.post("/v1/datasets", json=body)
    assert answer.status_code in (415, 422)
    found = answer.json()
    assert code in [found["code"], *[one["code"] for one in found["errors"]]]
    assert pointer is None or pointer in [one["pointer"] for one in found["errors"]]
