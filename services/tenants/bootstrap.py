"""``python -m services.tenants.bootstrap``: create a tenant and print a new key for it, as one JSON line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from services.config import load_settings
from services.db.engine import Database
from services.tenants import service
from services.tenants.scopes import SCOPES


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the tenant if it is missing and, with ``--print-key``, a key; return the exit status."""
    options = _parser().parse_args(arguments)
    database = Database(load_settings().database_url)
    with database.session() as session:
        tenant = service.create_tenant(session, name=options.tenant)
        answer = {"tenant_id": tenant.id}
        if options.print_key:
            scopes = options.scope or ["*"]
            text, row = service.create_key(session, tenant_id=tenant.id, name=options.name, scopes=scopes)
            answer = {"api_key": text, "key_id": row.id, **answer}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.tenants.bootstrap", description=__doc__)
    parser.add_argument("--tenant", default="default", help="the tenant's name (created if missing)")
    parser.add_argument("--print-key", action="store_true", help="create a new API key and print it, this once")
    parser.add_argument("--name", default="bootstrap", help="what the key is called in lists")
    parser.add_argument("--scope", action="append", choices=SCOPES, help="may be given again; default *")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
