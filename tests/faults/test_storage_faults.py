"""Row 11 of the fault table: no room, in PostgreSQL or on the worker's disk."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from sqlalchemy import text

from tests.faults.cramped import NAMESPACES
from tests.faults.jobs import assert_continuous, events, long_job, wait_for_checkpoint
from tests.faults.processes import frozen
from tests.stack import Stack, digits_job

# Minutes of real processes: in the long lane.
pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(400),
]  # a busy machine takes a minute to import torch in each worker


_FILL = [
    """
    CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$
    """,
    "CREATE TRIGGER no_room BEFORE INSERT ON chunk FOR EACH ROW EXECUTE FUNCTION no_room()",
]
_EMPTY = ["DROP FUNCTION no_room CASCADE"]


def test_a_full_database_rests_the_job_until_there_is_room(service: Stack, undisturbed: str) -> None:
    """The server answers a store of chunks with SQLSTATE 53100, as it does when its disk is full."""
    job_id = service.submit(long_job())
    wait_for_checkpoint(service, job_id)
    _execute(service, _FILL)
    try:
        job = service.wait(job_id, state="paused")
        assert (job["reason"], job["error"]) == ("storage_full", None)
        (told,) = events(service, job_id, "job.storage_full")
        assert told.data["error"]["code"] == "storage_full"
        assert told.data["error"]["hint"]
        kept = service.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]
        for checkpoint in kept:  # what was stored before can be read
            assert len(service.client.get(checkpoint["links"]["content"]).content) == checkpoint["size_bytes"]
        assert kept
        refused = service.client.post("/v1/datasets", json={"format": "npy"}).json()
        refused = service.client.put(f"{refused['links']['parts']}/1", content=b"\x93NUMPY" + bytes(100))
        assert (refused.status_code, refused.json()["code"]) == (503, "storage_full"), refused.text
        assert int(refused.headers["retry-after"]) > 0
    finally:
        _execute(service, _EMPTY)
    service.client.post(f"/v1/jobs/{job_id}/resume")
    job = service.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert service.final_sha256(job_id) == undisturbed
    assert_continuous(service, job_id)


def test_a_full_disk_of_the_worker_rests_the_job_too(service: Stack) -> None:
    """A file system with room for one checkpoint and not for two; a worker with more room finishes the job."""
    if sys.platform != "linux" or subprocess.run(["unshare", NAMESPACES, "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    model = "Sequential(Linear(64, 2000), ReLU(), Linear(2000, 10))"
    request = digits_job(20, model=model, checkpoints={"every": {"epochs": 5}, "keep": 3})
    calm = service.submit(request)
    assert service.wait(calm)["state"] == "succeeded"
    with frozen(service.processes[:2]):
        cramped = service.spawn("-m", "tests.faults.cramped")
        job_id = service.submit(request)
        job = service.wait(job_id, state="paused")
        assert (job["reason"], job["attempt"]) == ("storage_full", 1)
        assert service.stored_step(job_id) > 0
        cramped.send_signal(signal.SIGTERM)
        cramped.wait(60)
    service.client.post(f"/v1/jobs/{job_id}/resume")
    job = service.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert service.final_sha256(job_id) == service.final_sha256(calm)
    assert_continuous(service, job_id)


def _execute(stack: Stack, statements: list[str]) -> None:
    with stack.database.session() as session:
        for statement in statements:
            session.execute(text(statement))
