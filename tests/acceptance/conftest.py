"""One running service for the tests that leave it whole; a private one for those that break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack


@pytest.fixture(scope="module")
def module_environment(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of this module's processes, with leases short enough for a test."""
    import os

    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MODELWRIGHT_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "MODELWRIGHT_DEVICES": "cpu",
        "MODELWRIGHT_LEASE_SECONDS": "4",
        "MODELWRIGHT_RENEW_SECONDS": "1",
    }


@pytest.fixture(scope="module")
def service(module_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The API, a worker with two slots and the scheduler."""
    stack = Stack(module_environment, Path(tmp_path_factory.mktemp("logs")))
    try:
        stack.start_worker(slots=2)
        stack.start_scheduler()
        stack.start_api()
        yield stack
    finally:
        stack.stop()
