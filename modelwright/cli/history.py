"""Commands that show what a job did: its events, its log, its numbers."""

from __future__ import annotations

import csv
import json
import sys
from typing import Annotated

import typer

from modelwright.cli import curves, tables
from modelwright.cli.console import AsJson, JobId, connect, out, print_json

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")]


def events(job_id: JobId, follow: Follow = False, as_json: AsJson = False) -> None:
    """Show what happened to a job: states, attempts, checkpoints."""
    with connect() as client:
        for event in client.follow_events(job_id) if follow else client.events(job_id):
            typer.echo(json.dumps(event) if as_json else tables.event_line(event))


def logs(
    job_id: JobId,
    follow: Follow = False,
    level: Annotated[list[str] | None, typer.Option("--level", help="info, warning or error; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the log of a job: evaluations, checkpoints, warnings of torch, how it ended."""
    with connect() as client:
        read = client.follow_logs if follow else client.logs
        for line in read(job_id, levels=level or ()):
            typer.echo(json.dumps(line) if as_json else tables.log_line(line))


def metrics(
    job_id: JobId,
    name: Annotated[list[str] | None, typer.Option("--name", help="Only this series; repeatable.")] = None,
    points: Annotated[int, typer.Option("--points", min=1, max=1000, help="Points of a series at most.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Show the numbers of a job: curves on a terminal, CSV in a pipe."""
    with connect() as client:
        found = client.metrics(job_id, names=name or (), max_points=points)
    if as_json:
        print_json(found)
        return
    console = out()
    if console.is_terminal:
        for drawn in curves.of_series(found["series"], width=console.width):
            console.print(drawn)
        return
    names = list(found["series"])
    writer = csv.DictWriter(sys.stdout, ["step", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.records())
