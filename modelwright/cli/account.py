"""``modelwright login``, ``usage``, ``audit``: who you are for the service, what you used, who did what."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from modelwright import credentials
from modelwright.cli import account_tables
from modelwright.cli.console import AsJson, CreatedAfter, connect, err, out, print_json
from modelwright.cli.exits import UsageError
from modelwright.client import Client
from modelwright.credentials import DEFAULT_FOLDER, FILE_NAME, Credentials


def login(
    url: Annotated[
        str, typer.Argument(metavar="URL", envvar="MODELWRIGHT_URL", help="The service, such as http://127.0.0.1:8000.")
    ],
    as_json: AsJson = False,
) -> None:
    """Keep address and key for later commands. The key is asked for, or read from a pipe; it is tried first."""
    text = _read_key()
    with Client(url, text) as client:
        key = client.own_key()
        file = _file()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        credentials.write(file, Credentials(client.url, text))
    if as_json:
        print_json({**key, "path": str(file)})
        return
    account_tables.print_key(key, err())
    err().print(f"\nKept in {file}.", soft_wrap=True)
    for nearer in _shadows(file, client.url):
        err().print(f"But here {nearer} comes first.", style="yellow", soft_wrap=True)


def usage(as_json: AsJson = False) -> None:
    """Show what your tenant has used: jobs, training time, storage, requests, and what is left of each limit."""
    with connect() as client:
        found = client.usage()
    print_json(found) if as_json else account_tables.print_usage(found, out())


def audit(
    *,
    key: Annotated[str | None, typer.Option("--key", help="Only what this key (key_…) did.")] = None,
    object_id: Annotated[str | None, typer.Option("--object", help="Only what was done to this id.")] = None,
    status: Annotated[int | None, typer.Option("--status", help="Only calls that got this status.")] = None,
    created_after: CreatedAfter = None,
    created_before: Annotated[
        str | None, typer.Option("--created-before", metavar="TIME", help="Only earlier ones.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who did what, newest first: every call that changed something, and those that were refused."""
    with connect() as client:
        found = list(
            client.audit(
                key_id=key,
                object_id=object_id,
                status=status,
                created_after=created_after,
                created_before=created_before,
                limit=limit,
            )
        )
    print_json(found) if as_json else account_tables.print_audit(found, out())


def _read_key() -> str:
    """Return the key from the keyboard, unseen, or from a pipe; never from the command line, which others can list."""
    try:
        text = getpass.getpass("API key: ") if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        text = ""
    if not text.strip():
        raise UsageError("No key was given. Type it, or pipe it: modelwright login URL < key.txt")
    return text.strip()


def _file() -> Path:
    chosen = os.environ.get("MODELWRIGHT_DATA_DIR")
    return (Path(chosen).expanduser() if chosen else Path.home() / DEFAULT_FOLDER) / FILE_NAME


def _shadows(file: Path, url: str) -> list[str]:
    """Return what a client here would take before ``file``."""
    found = [name for name in ("MODELWRIGHT_URL", "MODELWRIGHT_API_KEY") if os.environ.get(name)]
    here = Path(DEFAULT_FOLDER) / FILE_NAME
    if not os.environ.get("MODELWRIGHT_DATA_DIR") and here.absolute() != file and credentials.read(here) is not None:
        found.append(str(here))
    return [one for one in found if one != "MODELWRIGHT_URL" or os.environ[one].rstrip("/") != url]
