"""The doorbell over a real broker: enough rings wake everybody, and one that cannot be sent says so."""

import pytest
import redis

from services.queue import ENOUGH_RINGS, Doorbell, queue_name
from tests.stack import free_port


@pytest.fixture
def broker(redis_url):
    opened = redis.Redis.from_url(redis_url)
    opened.delete(queue_name("cuda:7"))
    yield opened
    opened.delete(queue_name("cuda:7"))
    opened.close()


@pytest.fixture
def doorbell(redis_url):
    opened = Doorbell(redis_url)
    yield opened
    opened.close()


def test_rings_that_nobody_hears_are_so_many_and_not_more_and_each_that_is_heard_makes_room(broker, doorbell):
    queue = queue_name("cuda:7")
    assert all(doorbell.ring(f"job_{number}", "cuda") for number in range(ENOUGH_RINGS + 5))
    assert broker.llen(queue) == ENOUGH_RINGS
    broker.rpop(queue)
    assert doorbell.ring("job_next", "cuda:2")
    assert b"job_next" in broker.lindex(queue, 0)
    assert broker.llen(queue) == ENOUGH_RINGS


def test_a_ring_that_cannot_be_sent_is_said_to_be_lost(caplog):
    doorbell = Doorbell(f"redis://127.0.0.1:{free_port()}/0")
    try:
        assert doorbell.ring("job_1", "cpu") is False
    finally:
        doorbell.close()
    assert "worker.ring not rung for ['job_1']" in caplog.text
