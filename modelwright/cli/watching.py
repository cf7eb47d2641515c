"""Following a job: a live bar in a terminal, a line now and then in a pipe, a JSON line for each change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from modelwright.cli import tables
from modelwright.cli.curves import curve

Job = Mapping[str, Any]

_WIDE = 100
_MEDIUM = 70
_STEP_PERCENT = 20
_CURVE_WIDTH, _CURVE_HEIGHT = 100, 16
_CURVE_POINTS = 3
"""Fewer are no course."""


def follow(jobs: Iterable[Job], console: Console, *, as_json: bool) -> Job:
    """Show every change in ``jobs`` (what `Client.watch` yields) and return the last one.

    ``console`` is standard error, or standard output for ``as_json``.
    """
    if as_json:
        return _follow_with(jobs, lambda job: console.out(json.dumps(job), highlight=False))
    if console.is_terminal:
        return _follow_live(jobs, console)
    return _follow_with(jobs, _Lines(console).show)


@contextmanager
def bytes_bar(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for a download; yields what is to be called with bytes done and bytes in all."""
    with Progress(TextColumn(name), BarColumn(), DownloadColumn(), console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def summary(job: Job) -> Text:
    """Return how a job ended, in a few words and its numbers."""
    text = tables.state_text(job)
    for name, value in tables.latest(job).items():
        text.append(f"  {name} ", "dim").append(value)
    return text


def _follow_with(jobs: Iterable[Job], show: Callable[[Job], None]) -> Job:
    job: Job = {}
    for job in jobs:
        show(job)
    return job


def _follow_live(jobs: Iterable[Job], console: Console) -> Job:
    bar = Progress(*_columns(console.width), console=console)
    task = bar.add_task("queued", total=None, place="", numbers="")
    losses = _Losses(console)
    with Live(bar, console=console, transient=True, refresh_per_second=8) as live:

        def show(job: Job) -> None:
            progress = job.get("progress") or {}
            bar.update(
                task,
                description=job.get("phase") or job["state"],
                completed=progress.get("step") or 0,
                total=progress.get("total_steps"),
                place=_place(progress),
                numbers=_numbers(job, 3 if console.width >= _WIDE else 2),
            )
            losses.add(progress)
            live.update(Group(bar, *losses.drawn()))

        return _follow_with(jobs, show)


class _Losses:
    """The curve of the training loss as it was seen, where the terminal has room for it."""

    def __init__(self, console: Console) -> None:
        self._width = min(console.width, _CURVE_WIDTH)
        self._fits = console.height >= _CURVE_HEIGHT
        self._steps: list[int] = []
        self._values: list[float] = []

    def add(self, progress: Mapping[str, Any]) -> None:
        step, value = progress.get("step") or 0, (progress.get("latest") or {}).get("train/loss")
        if value is None:
            return
        if self._steps and step < self._steps[-1]:  # an attempt went on from an earlier checkpoint
            self._steps, self._values = [], []
        if not self._steps or step > self._steps[-1]:
            self._steps.append(step)
            self._values.append(value)

    def drawn(self) -> list[RenderableType]:
        if not self._fits or len(self._steps) < _CURVE_POINTS:
            return []
        return [curve("train/loss", self._steps, self._values, width=self._width)]


def _columns(width: int) -> list[ProgressColumn]:
    """Return what fits: the numbers that people wait for come before the ornaments."""
    columns: list[ProgressColumn] = [TextColumn("{task.description}", style="cyan")]
    if width >= _MEDIUM:
        columns += [
            BarColumn(bar_width=None if width >= _WIDE else 12),
            TextColumn("{task.fields[place]}", style="dim"),
        ]
    else:
        columns += [TextColumn("{task.percentage:>3.0f}%")]
    columns += [TextColumn("{task.fields[numbers]}")]
    return [*columns, TimeElapsedColumn()] if width >= _WIDE else columns


def _place(progress: Mapping[str, Any]) -> str:
    if progress.get("total_epochs"):
        return f"epoch {progress.get('epoch') or 0}/{progress['total_epochs']}"
    if progress.get("total_steps"):
        return f"step {progress.get('step') or 0}/{progress['total_steps']}"
    return ""


def _numbers(job: Job, count: int) -> str:
    """Loss first, then what is measured on rows that were not trained on; of a job in the queue, what it waits for."""
    if job["state"] == "queued" and job.get("reason"):
        return str(job["reason"]).replace("_", " ")
    if job.get("queue"):
        return str(job["queue"]["waiting_for"]["detail"])
    values = tables.latest(job)
    wanted = [name for name in ("train/loss", "validation/accuracy", "validation/loss") if name in values]
    rest = [name for name in values if name not in wanted and name != "learning_rate"]
    short = {"train/loss": "loss", "validation/accuracy": "accuracy"}
    return "  ".join(f"{short.get(name, name)} {values[name]}" for name in [*wanted, *rest][:count])


class _Lines:
    """For logs and pipes: a line for each state, and for each fifth of the way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[str, str, int] | None = None

    def show(self, job: Job) -> None:
        progress = job.get("progress") or {}
        waits = str(job.get("reason")) if job["state"] == "queued" else ""
        mark = (str(job["state"]), waits, int((progress.get("percent") or 0) // _STEP_PERCENT))
        if mark != self._last:
            self._last = mark
            parts = (job["state"], _place(progress), _numbers(job, 3))
            self._console.out("  ".join(part for part in parts if part), highlight=False)
