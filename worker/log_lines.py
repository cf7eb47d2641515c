"""What a trainer says, as lines of the job's log: for people who want to know what their job is doing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.logs.service import Level, Line

MAX_LINES = 5_000
"""Of one attempt that evaluates very often; warnings and errors are kept beyond it."""
_MESSAGE_CHARACTERS = 1_000
_HELD_OUT = ("validation/", "test/")
_LEFT_OUT = "More lines of this kind are left out."

Event = Mapping[str, Any]


class LogLines:
    """Numbers the lines of one attempt. A line has its number when it is heard, so writing again is no second line."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._count = 0

    def of(self, event: Event) -> list[Line]:
        """Return the lines for an event, none for most."""
        return [self._line(level, message) for level, message in self._kept(event)]

    def _kept(self, event: Event) -> Iterator[tuple[Level, str]]:
        for level, message in _said(event, self._attempt):
            if level != "info" or self._count < MAX_LINES:
                yield level, message
            elif self._count == MAX_LINES:
                yield "warning", _LEFT_OUT

    def _line(self, level: Level, message: str) -> Line:
        self._count += 1
        text = message.replace("\0", "\N{REPLACEMENT CHARACTER}")
        return Line(self._count, level, text[:_MESSAGE_CHARACTERS])


def _said(event: Event, attempt: int) -> Iterator[tuple[Level, str]]:
    kind = event["event"]
    if kind == "started":
        yield "info", _begin(event, attempt)
        if event.get("resume") == "approximate":
            yield "warning", f"The resume is approximate: {_differing(event)}."
    elif kind == "phase":
        yield "info", str(event["phase"]).replace("_", " ").capitalize() + "."
    elif kind == "weights_loaded":
        yield "info", f"{event['tensors']} tensors have the weights of the checkpoint in init_from."
    elif kind == "batch_size":
        yield "info", f"The batch size is {event['batch_size']}."
    elif kind == "metrics" and (numbers := _held_out(event)):
        yield "info", f"{_place(event)}: {numbers}."
    elif kind == "checkpoint":
        yield "info", f"{'Last checkpoint' if event['final'] else 'Checkpoint'} at step {event['step']}."
    elif kind == "warning":
        yield "warning", str(event["message"])
    elif kind == "failed":
        yield "error", _failure(event["error"])
    elif kind == "finished":
        why = f": {event['reason'].replace('_', ' ')}" if event.get("reason") else ""
        yield "info", f"{str(event['outcome']).capitalize()} at step {event['step']}{why}."


def _begin(event: Event, attempt: int) -> str:
    environment = event["environment"]
    where = f"torch {environment['torch']} on {environment['device']}"
    step = event.get("resumed_from_step")
    goes_on = "" if step is None else f", goes on from step {step}"
    return f"Attempt {attempt}: {where}{goes_on}."


def _differing(event: Event) -> str:
    return ", ".join(str(one) for one in event.get("differences") or ()) or "the environment differs"


def _held_out(event: Event) -> str:
    """Return the numbers of an evaluation, with the newest training loss; nothing if there was none since the last."""
    new = [name for name in event["series"] if name.startswith(_HELD_OUT)]
    if not new:
        return ""
    shown = [name for name in ("train/loss",) if name in event["latest"]] + new
    return ", ".join(f"{name} {_number(event['latest'][name])}" for name in shown)


def _place(event: Event) -> str:
    total, epochs = event["total_steps"], event["total_epochs"]
    step = f"Step {event['step']}/{total}" if total else f"Step {event['step']}"
    return f"{step}, epoch {event['epoch']}/{epochs}" if epochs else step


def _failure(error: Mapping[str, Any]) -> str:
    hint = f" {error['hint']}" if error.get("hint") else ""
    return f"{error['message']} ({error['code']}){hint}"


def _number(value: float) -> str:
    return f"{value:.4g}"
