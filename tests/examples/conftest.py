"""One running service for all examples: an API and a worker, as processes of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack


@pytest.fixture(scope="module")
def service(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The API and a worker that trains one job at a time."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MODELWRIGHT_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "MODELWRIGHT_DEVICES": "cpu",
    }
    stack = Stack(environment, Path(tmp_path_factory.mktemp("logs")))
    try:
        stack.start_worker(slots=1)
        stack.start_api()
        yield stack
    finally:
        stack.stop()
