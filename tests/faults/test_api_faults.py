"""Row 12 of the fault table, and row 6's first part: the API dies in the middle of a request."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.jobs import assert_continuous
from tests.stack import Stack, digits_job, kill

pytestmark = pytest.mark.timeout(400)  # a busy machine takes a minute to import torch in each worker


WIDE = "Sequential(Linear(64, 6000), ReLU(), Linear(6000, 600), ReLU(), Linear(600, 10))"
"""A checkpoint of some 16 MB: more than all buffers between API and client hold."""


@pytest.fixture(scope="module")
def stack(environment_of_module: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker, and an API that each test kills; the next one starts another."""
    made = Stack(environment_of_module, Path(tmp_path_factory.mktemp("logs")))
    try:
        made.start_worker()
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("moment", ["in_submit", "before_ring", pytest.param("at random", marks=pytest.mark.chaos)])
def test_a_post_whose_api_died_is_repeated_with_its_key_and_makes_one_job(stack: Stack, moment: str) -> None:
    armed = {} if moment == "at random" else {"FAILPOINT": f"{moment}:kill"}
    api = stack.start_api(**armed)
    body, headers = digits_job(2, name=uuid.uuid4().hex), {"Idempotency-Key": uuid.uuid4().hex}
    asking = threading.Thread(target=_post_in_vain, args=(stack.client, body, headers), daemon=True)
    asking.start()
    if moment == "at random":
        kill(api.pid)
    api.wait(60)
    asking.join(60)
    stack.start_api()
    answer = stack.client.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 201
    assert moment == "at random" or ("idempotent-replayed" in answer.headers) == (moment == "before_ring")
    job_id = answer.json()["id"]
    listed = stack.client.get("/v1/jobs?limit=100").json()["data"]
    assert [job["id"] for job in listed if job["name"] == body["name"]] == [job_id]
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert_continuous(stack, job_id)
    kill(stack.processes[-1].pid)


def test_a_download_whose_api_died_goes_on_where_it_stopped(stack: Stack) -> None:
    api = stack.start_api()
    job_id = stack.submit(digits_job(1, model=WIDE))
    assert stack.wait(job_id, seconds=150)["state"] == "succeeded"
    checkpoint = stack.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"][0]
    path, got = checkpoint["links"]["content"], b""
    with pytest.raises(httpx.TransportError), stack.client.stream("GET", path) as answer:
        tag = answer.headers["etag"]
        for piece in answer.iter_bytes():
            got += piece
            if api.poll() is None:
                kill(api.pid)
                api.wait(60)
    assert 0 < len(got) < checkpoint["size_bytes"]
    stack.start_api()
    rest = stack.client.get(path, headers={"Range": f"bytes={len(got)}-", "If-Range": tag})
    assert rest.status_code == 206
    assert hashlib.sha256(got + rest.content).hexdigest() == checkpoint["sha256"]


def _post_in_vain(client: httpx.Client, body: dict, headers: dict[str, str]) -> None:
    with pytest.raises(httpx.TransportError):
        client.post("/v1/jobs", json=body, headers=headers)
