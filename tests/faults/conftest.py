"""A service with short leases, for tests that break it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.jobs import long_job
from tests.stack import Stack

HASTE = {
    "MODELWRIGHT_DEVICES": "cpu",
    "MODELWRIGHT_LEASE_SECONDS": "5",
    "MODELWRIGHT_RENEW_SECONDS": "1",
    "MODELWRIGHT_CONTROL_POLL_SECONDS": "0.5",
    "MODELWRIGHT_DATABASE_POLL_SECONDS": "1",
    "MODELWRIGHT_STALL_SECONDS": "10",
}


@pytest.fixture(scope="module")
def environment_of_module(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of this module's processes."""
    data = str(tmp_path_factory.mktemp("data"))
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    return {**os.environ, **HASTE, **servers, "MODELWRIGHT_DATA_DIR": data}


@pytest.fixture(scope="module")
def service(environment_of_module: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The API and two workers of one slot each: one takes over from the other. Tests leave both whole."""
    stack = Stack(environment_of_module, Path(tmp_path_factory.mktemp("logs")))
    try:
        stack.start_worker()
        stack.start_worker()
        stack.start_api()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def undisturbed(service: Stack) -> str:
    """The checksum of the final weights of `long_job` when nothing goes wrong."""
    job_id = service.submit(long_job())
    assert service.wait(job_id, seconds=150)["state"] == "succeeded"
    return service.final_sha256(job_id)
