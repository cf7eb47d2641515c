import json

import pytest
from rich.console import Console

from modelwright.cli import queue_tables
from tests.modelwright.cli.test_commands import JOB_ID, job, page, run  # noqa: F401 - run is a fixture
from tests.modelwright.scripted import reply, scripted

WAITING = {
    "id": JOB_ID,
    "object": "queued_job",
    "name": "digits",
    "priority": 0,
    "position": 1,
    "ahead": 3,
    "eta": "2026-01-01T00:00:00Z",
    "waiting_for": {"code": "jobs_ahead", "detail": "3 jobs go first."},
}
HELD = {
    **WAITING,
    "position": None,
    "ahead": None,
    "eta": None,
    "waiting_for": {"code": "start_time", "detail": "Later."},
}
TOTALS = {
    "queued": 1,
    "scheduled": 1,
    "running": 2,
    "max_running_jobs": 4,
    "service": {"queued": 9, "running": 2, "slots": 2},
}
WORKER = {
    "id": "wrk_06f8aaaaaaaaaaaaaaaaaaaaaa",
    "state": "busy",
    "slots": 2,
    "busy": 2,
    "draining": False,
    "device": {"type": "cpu", "name": None, "count": 8},
    "versions": {"torch": "2.13.0"},
    "running": [{"job_id": JOB_ID}, {"job_id": None}],
    "last_seen_at": "2026-01-01T00:00:00Z",
}


def shown(draw, *arguments, width=140):
    console = Console(force_terminal=True, width=width, color_system=None)
    with console.capture() as captured:
        draw(*arguments, console)
    return captured.get()


def test_the_queue_is_lines_in_a_pipe(run):  # noqa: F811
    with scripted(reply(200, page(WAITING, HELD)), reply(200, {**page(WAITING), "totals": TOTALS})) as service:
        code, out, _ = run("queue", service=service)
    assert code == 0
    first, second = (line.split("\t") for line in out.splitlines())
    assert first == ["1", JOB_ID, "digits", "3", "now", "3 jobs go first."]
    assert (second[0], second[4], second[5]) == ("–", "?", "Later.")


def test_the_queue_as_json_has_its_totals(run):  # noqa: F811
    with scripted(reply(200, page(WAITING)), reply(200, {**page(WAITING), "totals": TOTALS})) as service:
        _, out, _ = run("queue", "--json", service=service)
    assert json.loads(out) == {"data": [WAITING], "totals": TOTALS}


@pytest.mark.parametrize("width", [80, 140])
def test_on_a_terminal_ids_stay_whole_and_totals_are_said(width):
    text = shown(queue_tables.print_queue, [WAITING, HELD], TOTALS, width=width)
    assert JOB_ID in text
    assert ("digits" in text) is (width == 140)
    assert "2 running (at most 4)" in " ".join(text.split())


def test_workers_are_shown_with_what_they_run():
    text = shown(queue_tables.print_workers, [WORKER], width=200)
    for word in (WORKER["id"], "2 of 2", "8 × cpu", "torch 2.13.0", JOB_ID, "(another's)"):
        assert word in text
    assert "No worker is there" in shown(queue_tables.print_workers, [])


def test_a_job_is_changed(run):  # noqa: F811
    with scripted(reply(200, job(state="queued", priority=5, labels={"team": "vision"}))) as service:
        code, out, _ = run("change", JOB_ID, "-p", "5", "-l", "team=vision", "-l", "draft=", service=service)
    assert (code, out.split()) == (0, [JOB_ID, "priority", "5", "team=vision"])
    method, path, _, content = service.requests[0]
    assert (method, path) == ("PATCH", f"/v1/jobs/{JOB_ID}")
    assert json.loads(content) == {"labels": {"team": "vision", "draft": None}, "priority": 5}


@pytest.mark.parametrize("arguments", [("change", JOB_ID), ("change", JOB_ID, "-l", "x")])
def test_a_change_that_says_nothing_is_a_wrong_command(run, arguments):  # noqa: F811
    assert run(*arguments)[0] == 2
