"""``modelwright keys``: list, make, show, rotate, revoke."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from modelwright.cli import account_tables
from modelwright.cli.console import AsJson, connect, err, out, print_json
from modelwright.cli.exits import UsageError

app = typer.Typer(help="API keys of your tenant.", invoke_without_command=True, add_completion=False)

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="The key's id (key_…), not its text.")]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


@app.callback()
def keys(context: typer.Context) -> None:
    """API keys of your tenant; without a command, list them."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List keys, newest first; never their secrets."""
    with connect() as client:
        found = list(client.keys(limit=limit))
    print_json(found) if as_json else account_tables.print_keys(found, out())


@app.command()
def create(
    scopes: Annotated[list[str], typer.Argument(metavar="SCOPE…", help="Such as jobs:read jobs:write; * is all.")],
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="DURATION", help="How long it is good: 90d, 12h, 30m.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; prints its text, which cannot be shown again."""
    seconds = None if expires_in is None else duration(expires_in)
    with connect() as client:
        made = client.create_key(scopes, name=name, expires_in_seconds=seconds)
    _print_new(made, as_json=as_json)


@app.command()
def show(key_id: KeyId, as_json: AsJson = False) -> None:
    """Show a key: what it may do, when it ends, when it was last used."""
    with connect() as client:
        key = client.get_key(key_id)
    print_json(key) if as_json else account_tables.print_key(key, out())


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="DURATION", help="How long the old one is still good: 1d, 2h, 0s.")
    ] = "1d",
    as_json: AsJson = False,
) -> None:
    """Make a key in place of another; prints the new one's text."""
    seconds = duration(overlap)
    with connect() as client:
        made = client.rotate_key(key_id, overlap_seconds=seconds)
    _print_new(made, as_json=as_json)


@app.command()
def revoke(key_id: KeyId, as_json: AsJson = False) -> None:
    """End a key for good; it is refused within a second."""
    with connect() as client:
        key = client.revoke_key(key_id)
    print_json(key) if as_json else typer.echo(f"{key['id']}  {key['state']}")


def duration(text: str) -> int:
    """Return the seconds in ``90d``, ``12h``, ``30m``, ``45s``, ``2w``.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no duration: a number and one of s, m, h, d, w, such as 90d.")
    return int(match[1]) * _UNITS[match[2]]


def _print_new(made: dict[str, Any], *, as_json: bool) -> None:
    """Print the text alone on standard output, so that a pipe gets nothing else."""
    if as_json:
        print_json(made)
        return
    account_tables.print_key(made, err())
    err().print("\nKeep it now, it cannot be shown again:", style="yellow")
    typer.echo(made["api_key"])
