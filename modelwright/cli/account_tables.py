"""Keys, usage and the audit log as text: tables for a terminal, tab-separated lines for a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modelwright.cli.tables import ago, size

Json = Mapping[str, Any]

_STYLES = {"active": "green", "expired": "dim", "revoked": "red"}
_SHOWN_SCOPES = 3
_BAR_WIDTH = 16
_FULL, _NEARLY = 1.0, 0.8
_BYTES = "bytes"
_AUDIT_CELLS = ("created_at", "key_id", "status", "action", "object_id", "request_id")


def print_keys(keys: Sequence[Json], console: Console) -> None:
    """Print keys as a table, or for a pipe as lines: id, state, name, scopes, end, last use."""
    rows = [_key_row(key) for key in keys]
    if not console.is_terminal:
        for key, row in zip(keys, rows, strict=True):
            typer.echo(
                "\t".join([*row[:3], ",".join(key["scopes"]), key["expires_at"] or "", key["last_used_at"] or ""])
            )
        return
    table = _table("ID", "STATE", "NAME", "SCOPES", "ENDS", "LAST USED")
    for identifier, state, *cells in rows:
        table.add_row(Text(identifier, no_wrap=True), Text(state, _STYLES.get(state, "")), *cells)
    console.print(table)


def print_key(key: Json, console: Console) -> None:
    """Print one key."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    facts = {
        "name": key["name"] or "–",
        "scopes": " ".join(key["scopes"]),
        "made": f"{key['created_at']} by {key['created_by'] or 'the operator'}",
        "ends": key["expires_at"] or "never",
        "last used": key["last_used_at"] or "never",
    }
    facts |= {"revoked": key["revoked_at"]} if key["revoked_at"] else {}
    facts |= {"rotated to": key["rotated_to"]} if key["rotated_to"] else {}
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(Text.assemble((key["id"], "bold"), "  ", (key["state"], _STYLES.get(key["state"], ""))))
    console.print(table)


def print_usage(usage: Json, console: Console) -> None:
    """Print what was used, and each limit with how full it is; for a pipe lines: limit, used, most."""
    limits = usage["limits"]
    if not console.is_terminal:
        for name, one in limits.items():
            typer.echo(f"{name}\t{'' if one['used'] is None else one['used']}\t{one['limit']}")
        return
    jobs = ", ".join(f"{count} {state}" for state, count in usage["jobs"].items() if count and state != "total")
    today, month = usage["requests"]["today"], usage["requests"]["last_30_days"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("jobs", f"{usage['jobs']['total']}" + (f"  ({jobs})" if jobs else ""))
    table.add_row("training", _hours(usage["training_seconds"]))
    table.add_row("stored", size(usage["storage"]["bytes"]))
    table.add_row("requests", f"{today['requests']:,} today, {month['requests']:,} in 30 days")
    if month["refused"]:
        table.add_row("refused", f"{today['refused']:,} today, {month['refused']:,} in 30 days")
    console.print(Text(usage["tenant"]["name"], "bold"))
    console.print(table)
    console.print()
    console.print(_limits(limits))


def print_audit(entries: Sequence[Json], console: Console) -> None:
    """Print who did what, newest first; for a pipe lines: time, key, status, action, object, request."""
    if not console.is_terminal:
        for one in entries:
            cells = [one[name] for name in _AUDIT_CELLS]
            typer.echo("\t".join("" if cell is None else str(cell) for cell in cells))
        return
    table = _table("WHEN", "KEY", "", "ACTION", "OBJECT")
    for one in entries:
        status = Text(str(one["status"]), "red" if one["status"] >= 400 else "green")
        action = one["action"].replace("/v1/", "") + (f" ({one['code']})" if one["code"] else "")
        table.add_row(ago(one["created_at"]), one["key_id"] or "operator", status, action, one["object_id"] or "")
    console.print(table)


def _limits(limits: Mapping[str, Json]) -> Table:
    table = _table("LIMIT", "USED", "OF", "")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, one in limits.items():
        shown = size if name.endswith(_BYTES) else "{:,}".format
        if one["used"] is None:
            table.add_row(name, "", shown(one["limit"]), "")
            continue
        part = one["used"] / one["limit"] if one["limit"] else _FULL
        style = "red" if part >= _FULL else "yellow" if part >= _NEARLY else "green"
        bar = ProgressBar(total=1.0, completed=min(part, 1.0), width=_BAR_WIDTH, complete_style=style)
        table.add_row(name, shown(one["used"]), shown(one["limit"]), bar)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _key_row(key: Json) -> list[str]:
    scopes = key["scopes"]
    hidden = len(scopes) - _SHOWN_SCOPES
    shown = " ".join(scopes[:_SHOWN_SCOPES]) + (f" +{hidden}" if hidden > 0 else "")
    used = ago(key["last_used_at"]) if key["last_used_at"] else "never"
    return [key["id"], key["state"], key["name"], shown, (key["expires_at"] or "never")[:10], used]


def _hours(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def print_tenants(tenants: Sequence[Json], console: Console) -> None:
    """Print tenants, for a pipe as lines: id, name, limits of their own."""
    rows = [
        (one["id"], one["name"], " ".join(f"{name}={value}" for name, value in one["own_limits"].items()))
        for one in tenants
    ]
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    table = _table("ID", "NAME", "LIMITS OF ITS OWN")
    for identifier, *cells in rows:
        table.add_row(Text(identifier, no_wrap=True), *cells)
    console.print(table)


def print_limits(tenant: Json, console: Console) -> None:
    """Print what a tenant may have, and what of it is not the service's default."""
    if not console.is_terminal:
        for name, value in tenant["limits"].items():
            typer.echo(f"{name}\t{value}")
        return
    console.print(Text.assemble((tenant["name"], "bold"), "  ", (tenant["id"], "dim")))
    table = _table("LIMIT", "", "")
    table.columns[1].justify = "right"
    for name, value in tenant["limits"].items():
        own = name in tenant["own_limits"]
        shown = size(value) if name.endswith(_BYTES) else f"{value:,}"
        table.add_row(name, Text(shown, "bold" if own else ""), "its own" if own else Text("default", "dim"))
    console.print(table)
