"""``modelwright tenants``: the operator's commands, on the machine that may open the database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from modelwright.cli import account_tables
from modelwright.cli.console import AsJson, err, out, print_json
from modelwright.cli.exits import Exit
from modelwright.cli.keys import duration
from modelwright.credentials import DEFAULT_FOLDER

app = typer.Typer(
    help="Tenants and their limits, for the operator: beside the database, not over HTTP.",
    invoke_without_command=True,
    add_completion=False,
)

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="Its name, or its id (ten_…).")]
LimitList = Annotated[
    list[str] | None, typer.Argument(metavar="[LIMIT=NUMBER…]", help="LIMIT=default takes the service's again.")
]
Data = Annotated[
    Path, typer.Option("--data", envvar="MODELWRIGHT_DATA_DIR", help="The folder of the service; or set DATABASE_URL.")
]
_HERE = Path(DEFAULT_FOLDER)


@app.callback()
def tenants(context: typer.Context) -> None:
    """Tenants and their limits, for the operator; without a command, list them."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(data: Data = _HERE, as_json: AsJson = False) -> None:
    """List tenants; limits that are their own are shown."""
    found = _admin(data, "list")
    print_json(found) if as_json else account_tables.print_tenants(found, out())


@app.command()
def create(name: Tenant, limits: LimitList = None, data: Data = _HERE, as_json: AsJson = False) -> None:
    """Make a tenant; then make it a key."""
    made = _admin(data, "create", name, *(limits or []))
    print_json(made) if as_json else account_tables.print_limits(made, out())


@app.command()
def limits(name: Tenant, changes: LimitList = None, data: Data = _HERE, as_json: AsJson = False) -> None:
    """Show what a tenant may have, or change it; it holds within a second."""
    found = _admin(data, "limits", name, *(changes or []))
    print_json(found) if as_json else account_tables.print_limits(found, out())


@app.command()
def key(
    *,
    tenant: Tenant,
    scope: Annotated[list[str] | None, typer.Option("--scope", "-s", help="Such as jobs:read; repeatable.")] = None,
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="DURATION", help="How long it is good: 90d, 12h.")
    ] = None,
    data: Data = _HERE,
    as_json: AsJson = False,
) -> None:
    """Make a key for a tenant; prints its text, which cannot be shown again."""
    more = [f"--scope={one}" for one in scope or []]
    more += [] if expires_in is None else [f"--expires-in-seconds={duration(expires_in)}"]
    made = _admin(data, "key", tenant, f"--name={name}", *more)
    print_json(made) if as_json else typer.echo(made["api_key"])


def _admin(data: Path, *arguments: str) -> Any:  # noqa: ANN401 - JSON, an object or a list of them
    """Run the service's own program, which needs its libraries and a way to its database, and return what it says."""
    from modelwright.server.postgres import PostgresServer  # noqa: PLC0415 - for these commands alone

    environment = dict(os.environ)
    if not environment.get("DATABASE_URL"):
        environment["DATABASE_URL"] = PostgresServer(data.expanduser().absolute() / "postgres").url
    environment.setdefault("REDIS_URL", "redis://127.0.0.1")  # part of the settings; it is not asked
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-m", "services.tenants.admin", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        _explain(done.stderr, known=bool(os.environ.get("DATABASE_URL")), data=data)
        raise typer.Exit(Exit.USAGE)
    return json.loads(done.stdout)


def _explain(said: str, *, known: bool, data: Path) -> None:
    """Say why the program failed: its own words, or where it looked for the database."""
    if "Traceback" not in said:
        err().print(said.strip(), soft_wrap=True, markup=False)
        return
    place = "DATABASE_URL" if known else f"the service in {data}"
    err().print(f"✗ The database of {place} does not answer: {said.strip().splitlines()[-1]}", soft_wrap=True)
    err().print("  → Start it (`modelwright up`), or name its folder with --data.", soft_wrap=True)
