"""Row 7 of the fault table: whatever happens to Redis, jobs are accepted, started and left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from modelwright.server.valkey import ValkeyServer
from tests.faults.jobs import assert_continuous, long_job, wait_for_checkpoint
from tests.faults.proxy import Proxy
from tests.stack import Stack, digits_job, until

pytestmark = pytest.mark.timeout(400)  # a busy machine takes a minute to import torch in each worker


@dataclass
class Site:
    """A service on a Redis of its own, which it reaches through a proxy."""

    valkey: ValkeyServer
    proxy: Proxy
    stack: Stack

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.valkey.url)


@pytest.fixture(scope="module")
def site(environment_of_module: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = Path(tmp_path_factory.mktemp("site"))
    valkey = ValkeyServer(directory / "valkey")
    valkey.start()
    with Proxy(valkey.port) as proxy:
        url = valkey.url.replace(f":{valkey.port}/", f":{proxy.port}/")
        stack = Stack({**environment_of_module, "REDIS_URL": url}, directory / "logs")
        try:
            stack.start_worker(slots=2)
            stack.start_scheduler()
            stack.start_api()
            yield Site(valkey, proxy, stack)
        finally:
            stack.stop()
            valkey.stop()


def kill_and_restart_empty(site: Site) -> None:
    site.valkey.kill()
    site.valkey.start()


def flush(site: Site) -> None:
    site.client().flushall()


def half_open(site: Site) -> None:
    site.proxy.blackhole()


def fill(site: Site) -> None:
    site.client().config_set("maxmemory", 1)


def kill(site: Site) -> None:
    site.valkey.kill()


FAULTS = {
    "killed and empty": (kill_and_restart_empty, "ok"),
    "flushed": (flush, "ok"),
    "half open": (half_open, "degraded"),
    "full": (fill, "degraded"),
    "down": (kill, "degraded"),
}


SLOW = ("flushed", "down")
"""For `make chaos`; that Redis is down is in tests/acceptance, too."""


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.chaos] * (fault in SLOW)) for fault in FAULTS]
)
def test_running_jobs_go_on_and_new_ones_start(site: Site, fault: str) -> None:
    stack = site.stack
    break_it, word = FAULTS[fault]
    running = stack.submit(long_job())
    wait_for_checkpoint(stack, running)
    break_it(site)
    try:
        job_id = stack.submit(digits_job(1))
        stack.wait(job_id)
        until(lambda: stack.client.get("/readyz").json()["status"] == word, seconds=60, what=stack.logs)
        assert stack.client.get("/readyz").status_code == 200
    finally:
        _mend(site)
    for each in (running, job_id):
        job = stack.wait(each)
        assert (job["state"], job["attempt"]) == ("succeeded", 1)
        assert_continuous(stack, each)
    until(lambda: stack.client.get("/readyz").json()["status"] == "ok", seconds=60, what=stack.logs)


def _mend(site: Site) -> None:
    site.proxy.flow()
    site.valkey.start()
    site.client().config_set("maxmemory", 1 << 28)
