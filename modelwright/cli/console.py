"""What all commands share: the connection, where output goes, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from modelwright.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs; errors too, on standard error.")]
CreatedAfter = Annotated[
    str | None, typer.Option("--created-after", metavar="TIME", help="Only later ones, as in 2026-11-23T04:30:00Z.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id (job_…).")]


def connect() -> Client:
    """Return a client that gives up sooner than a program's would: a person waits."""
    from modelwright.transport import RetryPolicy  # noqa: PLC0415 - httpx is slow to import

    return Client(retries=RetryPolicy(attempts=3))


def print_json(value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Print JSON, in colour on a terminal."""
    console = out()
    if console.is_terminal:
        console.print_json(json.dumps(value))
    else:
        typer.echo(json.dumps(value, indent=2))


def out() -> Console:
    """Return standard output."""
    return Console(highlight=False)


def err() -> Console:
    """Return standard error."""
    return Console(stderr=True, highlight=False)
