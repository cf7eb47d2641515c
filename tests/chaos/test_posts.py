"""Whoever asks at the same time with one key: one job."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.posts import post_at_once, summary
from tests.stack import Stack, digits_job


@pytest.fixture(scope="module")
def api(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A real API process."""
    import os

    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MODELWRIGHT_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "MODELWRIGHT_DEVICES": "cpu",
    }
    stack = Stack(environment, Path(tmp_path_factory.mktemp("logs")))
    try:
        stack.start_api()
        yield stack
    finally:
        stack.stop()


@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=[pytest.mark.chaos, pytest.mark.timeout(900)])])
def test_identical_posts_at_once_with_one_key_make_one_job(api: Stack, times: int) -> None:
    key = api.client.headers["Authorization"].removeprefix("Bearer ")
    before = len(api.client.get("/v1/jobs?limit=100").json()["data"])
    answers = post_at_once(str(api.client.base_url), key, digits_job(1), times=times, name=f"one of {times}")
    assert summary(answers) == {(201, False): 1, (201, True): times - 1}
    assert len({answer.job_id for answer in answers}) == 1
    assert len(api.client.get("/v1/jobs?limit=100").json()["data"]) == before + 1
