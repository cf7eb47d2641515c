"""What a real service tells others of its jobs: by list, waiting, stream and webhook, in logs, numbers and traces."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.receiver import Receiver, receiving
from tests.services.telemetry.test_tracing import collecting
from tests.stack import Stack, digits_job, until

TOKEN = "operator-token"


@dataclass
class World:
    """A running service, a receiver that it may call, and a collector that it sends its spans to."""

    stack: Stack
    receiver: Receiver
    spans: list[Any]


@pytest.fixture(scope="module")
def world(module_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as opened:
        receiver = opened.enter_context(receiving(tmp_path_factory.mktemp("receiver"), host="localhost"))
        url, spans = opened.enter_context(collecting())
        environment = {
            **module_environment,
            "MODELWRIGHT_WEBHOOK_HOSTS": f"localhost:{receiver.port}",
            "MODELWRIGHT_WEBHOOK_RETRY_SECONDS": "0.2",
            "MODELWRIGHT_REMOTE_NETWORKS": "127.0.0.0/8,::1/128",
            "MODELWRIGHT_REMOTE_CA_FILE": receiver.ca_file,
            "MODELWRIGHT_METRICS_TOKEN": TOKEN,
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        }
        stack = Stack(environment, Path(tmp_path_factory.mktemp("logs")))
        opened.callback(stack.stop)
        stack.start_worker()
        stack.start_scheduler()
        stack.start_api()
        yield World(stack, receiver, spans)


@pytest.fixture
def receiver(world: World) -> Receiver:
    world.receiver.reset()
    return world.receiver


def events_of(world: World, job_id: str) -> list[dict[str, Any]]:
    return list(world.stack.client.get(f"/v1/jobs/{job_id}/events?limit=100").json()["data"])


def told(receiver: Receiver, job_id: str) -> list[dict[str, Any]]:
    """Return the events of a job as they were delivered."""
    events = [dict(event) for event in receiver.events if event["job_id"] == job_id]
    assert all(event.pop("timestamp") == event["created_at"] for event in events)
    return events


def streamed(stack: Stack, job_id: str, found: list[dict[str, Any]]) -> None:
    with stack.client.stream("GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as answer:
        identifier = None
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "data":
                data = json.loads(value)
            elif name == "id":
                identifier = value
            elif not line and identifier is not None:
                assert data["id"] == identifier
                found.append(data)
                identifier = None


def waited(stack: Stack, job_id: str, found: list[dict[str, Any]]) -> None:
    """Look with ``wait`` until the job has ended, and keep each new transition."""
    known: dict[str, str] = {}
    while True:
        answer = stack.client.get(f"/v1/jobs/{job_id}?wait=20", headers=known)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            continue
        job, known = answer.json(), {"If-None-Match": answer.headers["etag"]}
        found[:] = job["transitions"]
        if job["terminal"]:
            return


def test_one_job_is_told_alike_by_list_waiting_stream_and_webhook(world: World, receiver: Receiver) -> None:
    stack = world.stack
    made = stack.client.post("/v1/jobs", json=digits_job(3, webhook={"url": receiver.url, "events": ["*"]}))
    assert made.status_code == 201, made.text
    job_id, request_id = made.json()["id"], made.headers["x-request-id"]
    by_stream: list[dict[str, Any]] = []
    by_waiting: list[dict[str, Any]] = []
    followers = [
        threading.Thread(target=streamed, args=(stack, job_id, by_stream)),
        threading.Thread(target=waited, args=(stack, job_id, by_waiting)),
    ]
    for one in followers:
        one.start()
    assert stack.wait(job_id)["state"] == "succeeded"
    for one in followers:
        one.join(60)
        assert not one.is_alive()
    listed = events_of(world, job_id)
    until(lambda: len(told(receiver, job_id)) >= len(listed), seconds=60, what=stack.logs)
    assert by_stream == listed
    assert told(receiver, job_id) == listed
    assert receiver.ids == [event["id"] for event in listed]
    states = [event["data"]["state"] for event in listed if event["type"] == "job.state_changed"]
    assert states == ["queued", "starting", "running", "succeeded"]
    assert [one["state"] for one in by_waiting] == states
    until(lambda: "attempt settled" in _lines(stack, job_id), seconds=60, what=stack.logs)
    _logs_tell_of_it(_lines(stack, job_id), request_id)
    _a_trace_leads_from_the_post_to_the_last_step(world, job_id)


def _lines(stack: Stack, job_id: str) -> dict[str, dict[str, Any]]:
    """Return what every process has written about a job, by message."""
    texts = [text for file in stack.directory.glob("*.log") for text in file.read_text().splitlines(keepends=True)]
    lines = [json.loads(text) for text in texts if text.startswith("{") and text.endswith("}\n")]
    return {line["message"]: line for line in lines if line.get("job_id") == job_id}


def _logs_tell_of_it(mine: dict[str, dict[str, Any]], request_id: str) -> None:
    assert {"job queued", "attempt begins", "attempt settled"} <= mine.keys()
    assert mine["job queued"]["request_id"] == request_id
    assert (mine["attempt begins"]["attempt"], mine["attempt begins"]["epoch"]) == (1, 1)
    assert len({mine[name]["tenant_id"] for name in ("job queued", "attempt begins")}) == 1
    assert len({mine[name]["trace_id"] for name in ("job queued", "attempt begins", "attempt settled")}) == 1


def _a_trace_leads_from_the_post_to_the_last_step(world: World, job_id: str) -> None:
    def about(span: Any) -> dict[str, Any]:
        return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}

    def attempts() -> list[Any]:
        return [span for _, span in world.spans if span.name == "job.attempt" and about(span)["job_id"] == job_id]

    def trace_of(attempt: Any) -> dict[str, Any]:
        return {span.name: span for _, span in world.spans if span.trace_id == attempt.trace_id}

    until(attempts, seconds=60, what=world.stack.logs)
    [attempt] = attempts()
    expected = {"POST /v1/jobs", "job.loading_data", "job.training", "job.settle"}
    until(lambda: expected <= trace_of(attempt).keys(), seconds=60, what=lambda: str(trace_of(attempt).keys()))
    trace = trace_of(attempt)
    assert attempt.parent_span_id == trace["POST /v1/jobs"].span_id
    training = trace["job.training"]
    assert training.parent_span_id == attempt.span_id
    assert [event.name for event in training.events] == ["first step"]
    parts = {span.name: part for part, span in world.spans if span.trace_id == attempt.trace_id}
    assert (parts["POST /v1/jobs"], parts["job.attempt"]) == (["api"], ["worker"])


def test_a_receiver_that_is_down_delays_no_job_and_gets_the_same_events_later(world: World, receiver: Receiver) -> None:
    """Fault 19, its hour shortened to what a job takes."""
    stack = world.stack
    receiver.down = True
    job_id = stack.submit(digits_job(1, webhook=receiver.url))
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    log = f"/v1/webhooks/{job['webhook']['id']}/deliveries"
    tried = lambda: [one for one in stack.client.get(log).json()["data"] if one["job_id"] == job_id and one["tries"]]  # noqa: E731
    until(tried, seconds=60, what=stack.logs)
    assert receiver.requests == []
    assert {one["state"] for one in tried()} == {"pending"}
    receiver.down = False
    states = [event for event in events_of(world, job_id) if event["type"] == "job.state_changed"]
    until(lambda: len({event["id"] for event in told(receiver, job_id)}) == len(states), seconds=90, what=stack.logs)
    assert {event["id"] for event in told(receiver, job_id)} == {event["id"] for event in states}
    until(lambda: {one["state"] for one in tried()} == {"succeeded"}, seconds=60, what=stack.logs)


@pytest.mark.chaos
def test_a_scheduler_that_dies_leaves_its_deliveries_to_the_next(world: World, receiver: Receiver) -> None:
    stack = world.stack
    receiver.hold = threading.Event()
    job_id = stack.submit(digits_job(1, webhook=receiver.url))
    until(lambda: receiver.requests, seconds=60, what=stack.logs)
    scheduler = next(one for one in stack.processes if "worker.scheduler" in one.args)
    scheduler.kill()
    scheduler.wait(20)
    stack.processes.remove(scheduler)
    receiver.hold.set()
    receiver.hold = None
    stack.wait(job_id)
    with stack.database.session() as session:  # instead of the minute after which a turn counts as lost
        from sqlalchemy import text

        session.execute(text("UPDATE webhook SET next_turn_at = now()"))
    stack.start_scheduler()
    states = [event["id"] for event in events_of(world, job_id) if event["type"] == "job.state_changed"]
    until(lambda: {*states} <= {event["id"] for event in told(receiver, job_id)}, seconds=90, what=stack.logs)


def test_the_operator_sees_it_in_numbers_and_the_health(world: World, receiver: Receiver) -> None:
    stack = world.stack
    stack.wait(stack.submit(digits_job(1, webhook=receiver.url)))
    until(lambda: stack.client.get("/readyz").json()["components"]["scheduler"]["status"] == "ok", seconds=60)

    def numbers() -> str:
        return stack.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text

    assert 'modelwright_jobs{state="queued"}' in numbers()
    until(lambda: 'modelwright_webhook_tries_total{outcome="succeeded"}' in numbers(), seconds=60, what=numbers)
    until(lambda: 'modelwright_jobs_ended_total{outcome="succeeded"}' in numbers(), seconds=60, what=numbers)
