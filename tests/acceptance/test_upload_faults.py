"""The API dies while a file arrives, and while one is read: what had arrived is not sent again; memory stays flat."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from modelwright import Client
from tests.services.datasets.files import npy
from tests.stack import Stack, kill, until

MIB = 1 << 20


@pytest.fixture(scope="module")
def stack(module_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API that each test may kill, and starts again."""
    made = Stack(module_environment, Path(tmp_path_factory.mktemp("logs")))
    try:
        made.start_api()
        yield made
    finally:
        made.stop()


def client_of(stack: Stack) -> Client:
    key = stack.client.headers["authorization"].removeprefix("Bearer ")
    return Client(str(stack.client.base_url), key)


def test_a_killed_api_costs_the_part_that_was_on_its_way(stack: Stack, tmp_path: Path) -> None:
    content = npy(np.random.default_rng(0).normal(size=(40_000, 100)))  # 32 MB
    (tmp_path / "x.npy").write_bytes(content)
    request = {"format": "npy", "name": "x.npy", "size_bytes": len(content)}
    begun = stack.client.post("/v1/datasets", json={**request, "sha256": hashlib.sha256(content).hexdigest()}).json()
    assert stack.client.put(f"{begun['links']['parts']}/1", content=content[: 16 * MIB]).status_code == 201
    halfway, killed = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield content[16 * MIB : 20 * MIB]
        halfway.set()
        killed.wait(20)
        yield b""

    def send() -> None:
        with pytest.raises(httpx.TransportError):
            stack.client.put(f"{begun['links']['parts']}/2", content=slowly())

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    assert halfway.wait(20)
    api = stack.processes[-1]
    kill(api.pid)
    killed.set()
    api.wait(10)
    stack.start_api()
    parts = stack.client.get(begun["links"]["parts"]).json()["data"]
    assert [part["number"] for part in parts] == [1]
    with client_of(stack) as client:
        seen: list[int] = []
        done = client.upload_dataset(tmp_path / "x.npy", progress=lambda have, total: seen.append(have))
    assert (done["id"], done["state"], done["rows"]) == (begun["id"], "ready", 40_000)
    assert done["source_sha256"] == hashlib.sha256(content).hexdigest()


def test_large_parts_do_not_make_the_api_large(stack: Stack) -> None:
    api = psutil.Process(stack.processes[-1].pid)
    begun = stack.client.post("/v1/datasets", json={"format": "npy"}).json()
    part = os.urandom(4 * MIB)
    stack.client.put(f"{begun['links']['parts']}/1", content=part)
    before = api.memory_info().rss
    peaks = []
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(0.02):
            peaks.append(api.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for number in (1, 2):
            pieces = (os.urandom(MIB) for _ in range(48))
            answer = stack.client.put(f"{begun['links']['parts']}/{number}", content=pieces)
            assert answer.json()["size_bytes"] == 48 * MIB
    finally:
        watching.set()
        watcher.join()
    assert max(peaks) - before < 24 * MIB


def test_a_killed_api_leaves_an_upload_that_can_be_completed_again(stack: Stack) -> None:
    content = b"a,b,c\n" + b"".join(b"%d,%d.5,x%d\n" % (row, row, row % 7) for row in range(150_000))
    begun = stack.client.post("/v1/datasets", json={"format": "csv"}).json()
    stack.client.put(f"{begun['links']['parts']}/1", content=content)
    asking = threading.Thread(target=lambda: _ignore(stack, begun["links"]["complete"]), daemon=True)
    asking.start()
    until(lambda: stack.client.get(begun["links"]["self"]).json()["state"] == "preparing", seconds=20)
    api = stack.processes[-1]
    kill(api.pid)
    api.wait(10)
    stack.start_api()
    assert stack.client.get(begun["links"]["self"]).json()["state"] == "preparing"
    done = stack.client.post(begun["links"]["complete"])
    assert (done.status_code, done.json()["state"], done.json()["rows"]) == (200, "ready", 150_000)


def _ignore(stack: Stack, where: str) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{stack.client.base_url}{where}", headers=dict(stack.client.headers), timeout=60)
