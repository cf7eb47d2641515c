import io

import pytest
from rich.console import Console

from modelwright.cli.watching import follow
from tests.modelwright.cli.test_commands import job


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_live_bar_fits_the_terminal_and_leaves_nothing_behind(width):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False)
    states = [job("queued", progress={}), job(), job("succeeded")]
    assert follow(states, terminal, as_json=False)["state"] == "succeeded"
    shown = terminal.file.getvalue()
    assert "loss 0.1235" in shown
    assert shown.endswith("\x1b[2K")  # the bar's line is cleared for what comes next


@pytest.mark.parametrize(("height", "drawn"), [(30, True), (10, False)])
def test_the_course_of_the_loss_is_drawn_where_there_is_room(height, drawn):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80, height=height, highlight=False)
    steps = [job(progress={"step": 10 * n, "total_steps": 100, "latest": {"train/loss": 1 / n}}) for n in range(1, 9)]
    follow([*steps, job("succeeded", progress=steps[-1]["progress"])], terminal, as_json=False)
    assert ("  step 80" in terminal.file.getvalue()) is drawn


def test_a_pipe_gets_a_line_for_each_state_and_each_fifth_of_the_way():
    pipe = Console(file=io.StringIO(), highlight=False)
    steps = [job(progress={**job()["progress"], "percent": float(percent)}) for percent in range(0, 100, 5)]
    follow([job("queued", progress={}), *steps, job("succeeded")], pipe, as_json=False)
    lines = pipe.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["queued", *["running"] * 5, "succeeded"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_job_in_the_queue_says_what_it_waits_for(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, highlight=False)
    waiting = job("queued", progress={}, reason="waiting_for_gpus")
    follow([job("queued", progress={}), waiting, waiting], console, as_json=False)  # a bar is sure to show the last
    shown = console.file.getvalue()
    assert "waiting for gpus" in shown
    assert terminal or shown.count("queued") == 2
    placed = job("queued", progress={}, queue={"waiting_for": {"code": "jobs_ahead", "detail": "3 jobs go first."}})
    follow([placed, placed], console, as_json=False)
    assert "3 jobs go first." in console.file.getvalue()
