"""Following a job through connections that break, and over a real service."""

import pytest

from modelwright import Client, NotFound, Unauthenticated
from modelwright.transport import RetryPolicy
from tests.modelwright.scripted import hang_up, reply, scripted, send

QUICK = RetryPolicy(attempts=2, first_seconds=0.01)


def client(service) -> Client:
    return Client(service.url, "mw_key", retries=QUICK)


def stream(*ids: str, cut: bool = False):
    """Answer with events of these ids and a progress message; ``cut`` promises more than comes."""
    text = "".join(f'event: job.checkpoint\ndata: {{"id":"{one}"}}\nid: {one}\n\n: ping\n\n' for one in ids)
    content = (text + 'event: job.progress\ndata: {"step":1}\n\n').encode()
    return lambda handler: send(
        handler, 200, content, length=len(content) + 100 * cut, Content_Type="text/event-stream; charset=utf-8"
    )


def over(handler) -> None:
    send(handler, 204, b"")


def test_events_come_once_and_in_order_through_connections_that_break():
    answers = [stream("evt_1", "evt_2", cut=True), hang_up, reply(503, {}), stream("evt_3"), over]
    with scripted(*answers) as service:
        assert [event["id"] for event in client(service).follow_events("job_1")] == ["evt_1", "evt_2", "evt_3"]
    asked = [headers.get("last-event-id") for _, _, headers, _ in service.requests]
    assert asked == [None, "evt_2", "evt_2", "evt_2", "evt_3"]


def test_following_goes_on_after_the_event_that_is_known():
    with scripted(stream("evt_2"), over) as service:
        assert [event["id"] for event in client(service).follow_events("job_1", after="evt_1")] == ["evt_2"]
    assert service.requests[0][2]["last-event-id"] == "evt_1"


@pytest.mark.parametrize(("status", "error"), [(404, NotFound), (401, Unauthenticated)])
def test_what_will_not_pass_is_not_waited_out(status, error):
    with scripted(reply(status, {"code": "x"})) as service, pytest.raises(error):
        next(client(service).follow_events("job_1"))
    assert len(service.requests) == 1


def test_a_watcher_lets_the_service_wait_and_asks_no_faster_than_it_may():
    running, done = {"state": "running", "terminal": False}, {"state": "succeeded", "terminal": True}
    with scripted(reply(200, running, ETag='"1"'), *[reply(304)] * 2, reply(200, done)) as service:
        assert list(client(service).watch("job_1")) == [running, done]
    assert "wait=" not in service.requests[0][1]
    assert all("wait=20" in path for _, path, _, _ in service.requests[1:])
