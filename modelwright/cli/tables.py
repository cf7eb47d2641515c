"""Jobs as text: tables for a terminal, tab-separated lines for a pipe, and the single job of `show`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

STYLES = {
    "queued": "dim",
    "starting": "cyan",
    "running": "cyan",
    "pausing": "yellow",
    "paused": "yellow",
    "cancelling": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
}
_WIDTHS = {"ID": 30, "STATE": 10, "DONE": 4}
_COLUMNS = ("ID", "STATE", "DONE", "NAME", "CREATED")
_WIDE, _MEDIUM = 90, 66  # narrower terminals get no creation time, then no name: an id must stay whole
_SHOWN_METRICS = 6


def print_jobs(jobs: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Print a list of jobs, newest first."""
    rows = [_row(job) for job in jobs]
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    if not rows:
        console.print("No jobs yet. Submit one: modelwright submit FILE --watch", style="dim")
        return
    shown = _COLUMNS[: 5 if console.width >= _WIDE else 4 if console.width >= _MEDIUM else 3]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in shown:
        table.add_column(column, no_wrap=True, min_width=_WIDTHS.get(column), overflow="ellipsis")
    for row in rows:
        table.add_row(row[0], Text(row[1], STYLES.get(row[1], "")), *row[2 : len(shown)])
    console.print(table)


def print_job(job: Mapping[str, Any], checkpoints: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Print one job with its latest numbers, its checkpoints, and why it failed if it did."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _facts(job):
        table.add_row(name, value)
    facts: RenderableType = table if console.is_terminal else "\n".join(f"{n:<10}  {v}" for n, v in _facts(job))
    parts: list[RenderableType] = [Text.assemble((job["id"], "bold"), "  ", state_text(job)), facts]
    if job.get("error"):
        parts.append(failure_text(job["error"]))
    parts += [Text(_checkpoint_line(one)) for one in checkpoints]
    console.print(Group(*parts) if console.is_terminal else "\n".join(map(str, parts)), soft_wrap=True, markup=False)


def state_text(job: Mapping[str, Any]) -> Text:
    """Return the state in its colour, with the reason or the phase."""
    beside = job.get("reason") or job.get("phase")
    return Text.assemble((job["state"], STYLES.get(job["state"], "")), (f" ({beside})" if beside else "", "dim"))


def event_line(event: Mapping[str, Any]) -> str:
    """Return an event in one line: when, what, and its facts."""
    facts = "  ".join(f"{name} {_fact(value)}" for name, value in event["data"].items() if value is not None)
    return f"{event['created_at']}  {event['type']:<20}  {facts}".rstrip()


def log_line(line: Mapping[str, Any]) -> str:
    """Return a line of a log as a terminal shows it; info is what nobody needs to be told."""
    level = "" if line["level"] == "info" else f"{line['level']}: "
    return f"{line['created_at'][:19]}Z  {level}{line['message']}"


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return str(value.get("message") or " ".join(f"{name}={one}" for name, one in value.items()))
    return number(value)


def failure_text(error: Mapping[str, Any]) -> Text:
    """Return what went wrong in training, where, and the hint."""
    text = Text.assemble(("✗ ", "bold red"), str(error.get("message")), "  ", (str(error.get("code")), "yellow"))
    if error.get("pointer"):
        text.append(f"\n  at {error['pointer']}", "bold")
    if error.get("hint"):
        text.append("\n  → ", "cyan").append(str(error["hint"]))
    return text


def latest(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the newest numbers of a job as text, by series, the telling ones first."""
    values = (job.get("progress") or {}).get("latest") or {}
    order = sorted(values, key=lambda name: (name == "learning_rate", not name.startswith("test/"), name))
    return {name: number(values[name]) for name in order}


def number(value: object) -> str:
    """Return a number so that it keeps its width while it changes, or whatever else it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.3g}"


def ago(moment: str | None) -> str:
    """Return how long ago an RFC 3339 time was, in its largest unit."""
    if not moment:
        return ""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _row(job: Mapping[str, Any]) -> tuple[str, ...]:
    progress = job.get("progress") or {}
    percent = progress.get("percent")
    done = "" if percent is None else f"{percent:.0f}%"
    return (job["id"], job["state"], done, job.get("name") or "", ago(job.get("created_at")))


def _facts(job: Mapping[str, Any]) -> list[tuple[str, str]]:
    progress, model = job.get("progress") or {}, job.get("model") or {}
    facts = [("name", job.get("name") or "–"), ("attempt", str(job.get("attempt")))]
    facts += [("labels", ", ".join(f"{k}={v}" for k, v in job["labels"].items()))] if job.get("labels") else []
    facts += [("parameters", f"{model['total']:,}")] if isinstance(model.get("total"), int) else []
    if progress.get("total_steps"):
        facts.append(("step", f"{progress.get('step', 0)} of {progress['total_steps']}"))
    shown = list(latest(job).items())[:_SHOWN_METRICS]
    facts += [("latest", "  ".join(f"{name} {value}" for name, value in shown))] if shown else []
    facts += _queue_facts(job.get("queue"))
    facts += [(name.replace("_at", ""), ago(job[name])) for name in ("created_at", "finished_at") if job.get(name)]
    return facts


def _queue_facts(place: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return where a queued job stands and what it waits for."""
    if place is None:
        return []
    stands = (
        [("position", f"{place['position']} of yours, {place['ahead']} of all go first")] if place["position"] else []
    )
    return [*stands, ("waits for", place["waiting_for"]["detail"])]


def _checkpoint_line(checkpoint: Mapping[str, Any]) -> str:
    final = "  final" if checkpoint.get("final") else ""
    return f"{checkpoint['id']}  step {checkpoint['step']}  {size(checkpoint['size_bytes'])}{final}"
