"""Bad inputs of data: files of every kind, and addresses that must not be fetched from."""

from __future__ import annotations

import pickle

import httpx

from tests.api.bad_inputs.case import Case, Row, World, job, upload
from tests.services.datasets.test_bad_files import BAD


def _file(case: str, cell: str, status: int = 422, where: str | None = "") -> Case:
    """Take the bytes and what must be said of them from the reader's own tests."""
    kind, content, code, said = BAD[case]
    return Case(cell, upload(kind, content), status, code, where, says=(said,) if said else ())


_PICKLE = pickle.dumps({"weights": [1.0, 2.0]})

FILES: Row = (
    _file("CSV ragged", "CSV ragged"),
    _file("CSV of a million columns", "CSV of 10^6 columns"),
    _file("CSV with an endless cell", "CSV with a cell of 1 GB"),
    _file("npy of objects", ".npy object dtype"),
    _file("npy that claims 4 GB", ".npy header claims 4 GB"),
    _file("npz that inflates a thousandfold", "zip bomb"),
    _file("npz with a path upwards", "../ member"),
    Case("pickle as weights", upload("safetensors", _PICKLE), 415, "unsupported_format"),
    _file("safetensors that are cut", "broken safetensors"),
)


def _address(url: str, hosts: tuple[str, ...] = ()):
    def send(world: World) -> httpx.Response:
        with world.settings(remote_hosts=hosts):
            return world.client.post("/v1/datasets", json={"url": url, "format": "csv"})

    return send


def _webhook(url: str, hosts: tuple[str, ...] = ()):
    def send(world: World) -> httpx.Response:
        with world.settings(webhook_hosts=hosts):
            return world.client.post("/v1/webhooks", json={"url": url, "events": ["*"]})

    return send


URLS: Row = (
    Case(
        "data URL of no host that is allowed",
        _address("https://data.example.org/a.csv"),
        422,
        "url_not_allowed",
        "/url",
    ),
    Case("data URL to private", _address("https://10.0.0.7/a", ("10.0.0.7",)), 422, "url_not_allowed", "/url"),
    Case(
        "data URL to link-local",
        _address("https://169.254.169.254/latest", ("169.254.169.254",)),
        422,
        "url_not_allowed",
        "/url",
    ),
    Case("webhook URL of no allowed host", _webhook("https://hooks.example.com/a"), 422, "url_not_allowed", "/url"),
    Case("webhook URL to private", _webhook("https://10.0.0.7/a", ("*",)), 422, "url_not_allowed", "/url"),
    Case("webhook URL to link-local", _webhook("https://169.254.169.254/", ("*",)), 422, "url_not_allowed", "/url"),
    Case("webhook URL of a job", job("webhook", value="https://10.0.0.7/a"), 422, "url_not_allowed", "/webhook/url"),
    Case("data URL to loopback", _address("https://[::1]/a", ("[::1]", "::1")), 422, "url_not_allowed", "/url"),
)
