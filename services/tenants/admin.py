"""``python -m services.tenants.admin``: the operator's commands over tenants; prints JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.config import Settings, load_settings
from services.db.engine import Database
from services.errors import ModelwrightError
from services.limits.quotas import LIMITS
from services.tenants import administration
from services.tenants.scopes import SCOPES

_REFUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and print what came of it; return the exit status."""
    options = _parser().parse_args(arguments)
    settings = load_settings()
    database = Database(settings.database_url)
    try:
        with database.session() as session:
            answer = _do(session, options, settings)
    except ModelwrightError as error:
        sys.stderr.write(f"{error.detail}\n" + (f"  → {error.hint}\n" if error.hint else ""))
        return _REFUSED
    finally:
        database.close()
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return 0


def _do(session: Session, options: argparse.Namespace, settings: Settings) -> dict[str, Any] | list[dict[str, Any]]:
    if options.command == "list":
        return administration.list_tenants(session, settings=settings)
    if options.command == "create":
        return administration.create(session, name=options.tenant, limits=dict(options.limit), settings=settings)
    if options.command == "limits":
        limits = dict(options.limit)
        return administration.change_limits(session, name=options.tenant, limits=limits, settings=settings)
    return administration.make_key(
        session,
        name=options.tenant,
        scopes=options.scope,
        key_name=options.name,
        expires_in_seconds=options.expires_in_seconds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.tenants.admin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every tenant and its limits")
    shown = f"NAME=NUMBER or NAME=default; {', '.join(LIMITS)}"
    for command, said in (("create", "make a tenant"), ("limits", "show or set what a tenant may have")):
        one = commands.add_parser(command, help=said)
        one.add_argument("tenant", help="its name, or its id")
        one.add_argument("limit", nargs="*", type=_limit, help=shown)
    key = commands.add_parser("key", help="make a key and print it, this once")
    key.add_argument("tenant", help="its name, or its id")
    key.add_argument("--scope", action="append", default=[], choices=SCOPES, help="may be given again; default *")
    key.add_argument("--name", default="", help="what it is for")
    key.add_argument("--expires-in-seconds", type=int, help="how long it is good; default for ever")
    return parser


def _limit(text: str) -> tuple[str, int | None]:
    name, _, value = text.partition("=")
    if value == "default":
        return name, None
    if not (value.isascii() and value.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER or NAME=default")
    return name, int(value)


if __name__ == "__main__":
    raise SystemExit(main())
