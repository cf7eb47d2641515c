import pytest

from worker import log_lines
from worker.log_lines import LogLines

STARTED = {"event": "started", "environment": {"torch": "2.13.0", "device": "cpu"}, "resumed_from_step": None}
METRICS = {
    "event": "metrics", "step": 69, "total_steps": 920, "epoch": 3, "total_epochs": 40,
    "series": {"train/loss": {}, "validation/accuracy": {}},
    "latest": {"train/loss": 0.52111, "validation/accuracy": 0.875},
}  # fmt: skip


@pytest.mark.parametrize(
    ("event", "level", "message"),
    [
        (STARTED, "info", "Attempt 2: torch 2.13.0 on cpu."),
        (STARTED | {"resumed_from_step": 40}, "info", "Attempt 2: torch 2.13.0 on cpu, goes on from step 40."),
        ({"event": "phase", "phase": "loading_data"}, "info", "Loading data."),
        ({"event": "batch_size", "batch_size": 256}, "info", "The batch size is 256."),
        (METRICS, "info", "Step 69/920, epoch 3/40: train/loss 0.5211, validation/accuracy 0.875."),
        (METRICS | {"total_epochs": None}, "info", "Step 69/920: train/loss 0.5211, validation/accuracy 0.875."),
        ({"event": "checkpoint", "step": 23, "final": False}, "info", "Checkpoint at step 23."),
        ({"event": "checkpoint", "step": 46, "final": True}, "info", "Last checkpoint at step 46."),
        ({"event": "warning", "message": "UserWarning: odd"}, "warning", "UserWarning: odd"),
        (
            {"event": "failed", "error": {"message": "No memory.", "code": "out_of_memory", "hint": "Try 32."}},
            "error",
            "No memory. (out_of_memory) Try 32.",
        ),
        ({"event": "finished", "outcome": "succeeded", "reason": None, "step": 46}, "info", "Succeeded at step 46."),
        (
            {"event": "finished", "outcome": "succeeded", "reason": "early_stopped", "step": 46},
            "info",
            "Succeeded at step 46: early stopped.",
        ),
    ],
)
def test_what_a_trainer_says_becomes_a_line(event, level, message):
    (line,) = LogLines(2).of(event)
    assert (line.number, line.level, line.message) == (1, level, message)


def test_an_approximate_resume_is_a_warning():
    event = STARTED | {"resumed_from_step": 40, "resume": "approximate", "differences": ["threads"]}
    lines = LogLines(2).of(event)
    assert [(line.number, line.level) for line in lines] == [(1, "info"), (2, "warning")]
    assert "threads" in lines[1].message


def test_numbers_of_training_alone_are_no_line():
    assert LogLines(1).of(METRICS | {"series": {"train/loss": {}}}) == []


def test_too_many_lines_are_left_out_and_that_is_said_once(monkeypatch):
    monkeypatch.setattr(log_lines, "MAX_LINES", 3)
    lines = LogLines(1)
    written = [line for _ in range(6) for line in lines.of(METRICS)]
    assert [line.level for line in written] == ["info", "info", "info", "warning"]
    assert "left out" in written[-1].message
    assert lines.of({"event": "warning", "message": "still heard"})[0].number == 5


def test_a_line_is_bounded_and_holds_nothing_that_a_database_refuses():
    (line,) = LogLines(1).of({"event": "warning", "message": "a\0b" + "x" * 10_000})
    assert line.message.startswith("a\N{REPLACEMENT CHARACTER}b")
    assert len(line.message) == 1_000
