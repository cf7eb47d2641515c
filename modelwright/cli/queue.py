"""``modelwright queue``, ``workers`` and ``change``: what waits, who trains, and which job goes first."""

from __future__ import annotations

from typing import Annotated

import typer

from modelwright.cli import queue_tables
from modelwright.cli.console import AsJson, connect, out, print_json
from modelwright.cli.exits import UsageError


def queue(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20, as_json: AsJson = False
) -> None:
    """Show your queued jobs, the next one first: how many go before, when, and what each waits for."""
    with connect() as client:
        found, totals = list(client.queue(limit=limit)), client.queue_totals()
    print_json({"data": found, "totals": totals}) if as_json else queue_tables.print_queue(found, totals, out())


def workers(as_json: AsJson = False) -> None:
    """Show the workers: slots, device, versions, what they run."""
    with connect() as client:
        found = list(client.workers())
    print_json(found) if as_json else queue_tables.print_workers(found, out())


def change(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id (job_…).")],
    priority: Annotated[
        int | None, typer.Option("--priority", "-p", min=-100, max=100, help="Higher goes first.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="NAME=VALUE, or NAME= to take it away; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a job's priority or labels."""
    if priority is None and not label:
        raise UsageError("Say what to change: --priority or --label.")
    labels = {name: value or None for name, value in map(_pair, label or [])}
    with connect() as client:
        job = client.change_job(job_id, labels=labels, priority=priority)
    shown = "  ".join(f"{name}={value}" for name, value in job["labels"].items())
    print_json(job) if as_json else typer.echo(f"{job['id']}  priority {job['priority']}  {shown}".rstrip())


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--label takes NAME=VALUE, not {text!r}.")
    return name, value
