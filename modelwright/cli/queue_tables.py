"""The queue and the workers as tables for a terminal, tab-separated lines for a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelwright.cli.tables import ago

_STATES = {"idle": "green", "busy": "cyan", "draining": "yellow", "lost": "red"}
_WIDE = 100  # narrower terminals get no names and no devices: ids and reasons must stay whole


def print_queue(jobs: Iterable[Mapping[str, Any]], totals: Mapping[str, Any], console: Console) -> None:
    """Print the caller's queued jobs, the next one first, and how much waits and runs in all."""
    rows = [_queued(job) for job in jobs]
    if not console.is_terminal:
        _print_lines(rows)
        return
    if rows:
        wide = console.width >= _WIDE
        console.print(
            _table(("#", "ID", *(["NAME"] if wide else []), "AHEAD", "STARTS", "WAITS FOR"), _chosen(rows, wide))
        )
    console.print(_totals(totals), style="dim")


def print_workers(workers: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Print the workers that are there, some lines each: ids and names must stay whole."""
    rows = [_worker(worker) for worker in workers]
    if not console.is_terminal:
        _print_lines(rows)
        return
    if not rows:
        console.print("No worker is there. `modelwright up` starts one; so does `python -m worker`.", style="dim")
    for identifier, state, busy, seen, device, versions, jobs in rows:
        styled = Text.assemble((identifier, "bold"), "  ", (state, _STATES.get(state, "")), f"  {busy} slots busy  ")
        console.print(styled.append(f"seen {seen}", "dim"))
        console.print(Text(f"  {device}\n  {versions}", "dim"))
        if jobs:
            console.print(Text(f"  runs {jobs}"))


def until(moment: str | None) -> str:
    """Return in how long an RFC 3339 time will be, in its largest unit; "?" where it is not known."""
    if not moment:
        return "?"
    seconds = int((datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"in {seconds // size} {unit}"
    return f"in {seconds} s" if seconds > 0 else "now"


def _queued(job: Mapping[str, Any]) -> tuple[str, ...]:
    position, ahead = (str(job[name]) if job[name] is not None else "–" for name in ("position", "ahead"))
    return (position, job["id"], job["name"] or "", ahead, until(job["eta"]), job["waiting_for"]["detail"])


def _chosen(rows: Sequence[tuple[str, ...]], wide: bool) -> list[tuple[str, ...]]:
    return list(rows) if wide else [row[:2] + row[3:] for row in rows]


def _worker(worker: Mapping[str, Any]) -> tuple[str, ...]:
    device, count = worker["device"], worker["device"]["count"]
    name = f"{count} × {device['name'] or device['type']}"
    versions = " ".join(f"{name} {version}" for name, version in worker["versions"].items())
    jobs = [slot["job_id"] or "(another's)" for slot in worker["running"]]
    busy = f"{worker['busy']} of {worker['slots']}"
    return (worker["id"], worker["state"], busy, ago(worker["last_seen_at"]), name, versions, " ".join(jobs))


def _totals(totals: Mapping[str, Any]) -> str:
    limit = totals["max_running_jobs"]
    runs = f"{totals['running']} running" + (f" (at most {limit})" if limit is not None else "")
    later = f", {totals['scheduled']} scheduled" if totals["scheduled"] else ""
    service = totals["service"]
    everybody = f"{service['queued']} queued, {service['running']} running on {service['slots']} slots"
    return f"Yours: {totals['queued']} queued{later}, {runs}. Everybody's: {everybody}."


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=column == "ID", min_width=30 if column == "ID" else None, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, _STATES.get(cell, "")) for cell in row))
    return table


def _print_lines(rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        typer.echo("\t".join(row))
