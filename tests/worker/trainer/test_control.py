"""A trainer obeys between two steps, and says in the end what became of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.forkserver import Exit, ForkServer
from tests.worker.trainer.harness import Line, assert_same_bits, make_job, read, resumed, train

MODEL = "Sequential(Linear(64, 8), BatchNorm1d(8), ReLU(), Dropout(0.3), Linear(8, 10))"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def server():
    server = ForkServer(preload=["worker.trainer.main", "worker.trainer.warm:warm"])
    yield server
    server.close()


def test_a_cancel_ends_the_run_with_a_checkpoint(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, epochs=100_000)

    class Cancel(Line):
        def poll(self):
            return [{"command": "cancel"}, {"command": "pause"}] if self.of("metrics") else []

    line = Cancel()
    from worker.trainer.main import run

    assert run(job, line) == 0
    assert (line.last["outcome"], line.last["reason"]) == ("cancelled", "cancel_requested")
    checkpoint = line.of("checkpoint")[-1]
    assert checkpoint["step"] == line.last["step"] > 0
    assert not checkpoint["final"]


def test_a_cancel_before_the_first_step_leaves_nothing(tmp_path, cache):
    line = train(make_job(tmp_path, cache=cache), commands=[{"command": "cancel"}])
    assert (line.last["outcome"], line.last["step"]) == ("cancelled", 0)
    assert not line.of("checkpoint")


def test_unknown_commands_are_ignored(tmp_path, cache):
    line = train(make_job(tmp_path, cache=cache), commands=[{"command": "dance"}, {}, {"command": ["cancel"]}])
    assert line.last["outcome"] == "succeeded"


def test_a_checkpoint_can_be_asked_for(tmp_path, cache):
    line = train(make_job(tmp_path, cache=cache), commands=[{"command": "checkpoint"}])
    assert [event["final"] for event in line.of("checkpoint")] == [False, True]


def test_when_time_is_up_the_run_ends_with_what_it_has(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, epochs=100_000)
    line = train({**job, "max_runtime_seconds": 0.5})
    assert (line.last["outcome"], line.last["reason"]) == ("succeeded", "timeout")
    assert line.of("checkpoint")[-1]["final"]
    assert 0 < line.last["step"] < 600_000


def test_time_counts_across_attempts(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, epochs=100_000)
    checkpoint = train({**job, "max_runtime_seconds": 0.3}).of("checkpoint")[-1]
    line = train({**resumed(job, checkpoint, tmp_path / "resumed"), "max_runtime_seconds": 0.3})
    assert (line.last["reason"], line.last["step"]) == ("timeout", checkpoint["step"])


def test_metrics_are_flushed_before_every_checkpoint_and_no_segment_straddles_one(tmp_path, cache):
    job = make_job(
        tmp_path, cache=cache, checkpoints={"every": {"steps": 5}}, scheduler={"type": "OneCycleLR", "max_lr": 0.1}
    )
    line = train(job)
    steps = [event["step"] for event in line.of("checkpoint")]
    assert steps == [5, 10, 12]
    for event in line.of("metrics"):
        for points in event["series"].values():
            assert not any(points["steps"][0] <= step < points["steps"][-1] for step in steps)
    reported = 0
    for event in line.events:
        if event["event"] == "metrics":
            reported = max(reported, event["step"])
        if event["event"] == "checkpoint":
            assert reported >= event["step"]
    assert line.of("checkpoint")[-1]["metrics"].keys() >= {"train/loss", "validation/accuracy", "test/accuracy"}


def test_events_and_series_have_the_agreed_form(tmp_path, cache):
    line = train(make_job(tmp_path, cache=cache))
    started, last = line.events[0], line.of("metrics")[-1]
    assert started["event"] == "started"
    assert {"torch", "device", "threads"} <= set(started["environment"])
    assert started["resumed_from_step"] is None
    assert (last["step"], last["epoch"], last["total_steps"], last["total_epochs"]) == (12, 2, 12, 2)
    assert sorted(line.series("train/loss")) == list(range(1, 13))
    assert sorted(line.series("validation/accuracy")) == sorted(line.series("validation/loss")) == [6, 12]
    assert sorted(line.series("test/accuracy")) == [12]
    assert sorted(line.series("learning_rate")) == [1, 7]
    assert line.last == {"event": "finished", "outcome": "succeeded", "reason": None, "step": 12}


def collect(child, until=lambda event: False, timeout_seconds=60.0):
    events, deadline = [], time.monotonic() + timeout_seconds
    while not child.ended and time.monotonic() < deadline:
        for event in child.receive(0.2):
            events.append(event)
            if until(event):
                return events
    return events


def is_checkpoint(event):
    return event["event"] == "checkpoint"


def never(event):
    return False


def spawn(server, job, folder):
    folder.mkdir(exist_ok=True)
    return server.spawn("worker.trainer.main:run", job, directory=folder, log=folder / "log")


def test_killed_in_the_middle_and_resumed_it_ends_in_the_same_bits(server, tmp_path, cache):
    job = make_job(tmp_path, model=MODEL, cache=cache, epochs=40, checkpoints={"every": {"steps": 7}})
    with spawn(server, job, tmp_path / "a") as child:
        whole = collect(child)
        assert child.wait(10) == Exit(0, None)
    assert whole[-1]["outcome"] == "succeeded"
    assert "seccomp" in whole[0]["isolation"] or "network_namespace" in whole[0]["isolation"]
    current, attempt = job, 0
    while True:
        attempt += 1
        current = {**current, "output": str(tmp_path / f"output-{attempt}")}
        with spawn(server, current, tmp_path / "b") as child:
            events = collect(child, until=is_checkpoint if attempt < 4 else never)
            if events[-1]["event"] == "finished":
                break
            child.kill()
            assert child.wait(10) == Exit(None, signal.SIGKILL)
        current = resumed(job, events[-1], tmp_path)
    assert attempt == 4
    final = [event for event in events if event["event"] == "checkpoint"][-1]
    assert_same_bits(read(final), read([event for event in whole if event["event"] == "checkpoint"][-1]))


def test_a_terminated_trainer_saves_and_pauses(server, tmp_path, cache):
    job = make_job(tmp_path, model=MODEL, cache=cache, epochs=100_000)
    with spawn(server, job, tmp_path / "a") as child:
        collect(child, until=lambda event: event["event"] == "metrics")
        child.terminate()
        events = collect(child)
        assert child.wait(10) == Exit(0, None)
    assert (events[-1]["outcome"], events[-2]["event"]) == ("paused", "checkpoint")
    assert events[-2]["step"] == events[-1]["step"]
    assert "Traceback" not in (tmp_path / "a" / "log").read_text()


def test_ten_jobs_in_a_row_leave_the_server_with_one_thread(server, tmp_path, cache):
    job = make_job(tmp_path, cache=cache, epochs=1)
    for _ in range(10):
        with spawn(server, job, tmp_path / "a") as child:
            assert collect(child)[-1]["outcome"] == "succeeded"
    assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1


WITHOUT_SERVER_LIBRARIES = """
import sys
for name in "pydantic sqlalchemy celery kombu redis psycopg fastapi starlette sklearn httpx typer".split():
    sys.modules[name] = None  # importing it fails as if it were not installed
import worker.trainer.main, services.modules, services.definition, services.forkserver
"""


def test_the_trainer_needs_no_server_library():
    subprocess.run([sys.executable, "-c", WITHOUT_SERVER_LIBRARIES], check=True, timeout=120)


def test_a_request_trains_without_a_service_and_an_interrupt_saves(tmp_path):
    request = tmp_path / "job.json"
    request.write_text(
        '{"model": "Linear(64, 10)", "data": {"dataset": "digits"}, "training": {"epochs": 100000,'
        ' "optimizer": {"type": "SGD"}, "loss": {"type": "CrossEntropyLoss"}}}'
    )
    command = [sys.executable, "-m", "worker.trainer", str(request)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for text in process.stderr:
            if "steps/s" in text:
                break
        os.kill(process.pid, signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 0
    assert "paused" in rest
    folder = sorted((tmp_path / "job").glob("step-*"))[-1]
    assert (folder / "weights.safetensors").exists()


def test_a_wrong_request_is_refused_on_the_terminal(tmp_path, capsys):
    from worker.trainer.__main__ import main

    request = tmp_path / "job.json"
    request.write_text('{"model": "Linear(64, 10)", "data": {"dataset": "digits"}, "training": {"epochs": 0}}')
    assert main([str(request)]) == 2
    assert "/training/epochs: out_of_range" in capsys.readouterr().err
