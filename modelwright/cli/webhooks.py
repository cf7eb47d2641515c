"""``modelwright webhooks``: who is told of events, the log of deliveries, a test, one more time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from modelwright.cli.console import AsJson, connect, err, out, print_json
from modelwright.cli.exits import Exit
from modelwright.cli.tables import ago

app = typer.Typer(help="Webhooks: who is told of events by POST.", no_args_is_help=True, add_completion=False)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's id (whk_…).")]
_STYLES = {"succeeded": "green", "failed": "red", "pending": "cyan", "on": "green", "off": "yellow"}
_TEST_SECONDS = 20.0
_POLL_SECONDS = 0.3


@app.command()
def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="An https address of a host that the operator allows.")],
    event: Annotated[
        list[str] | None, typer.Option("--event", "-e", help="What it is told of; repeatable. States by default.")
    ] = None,
    secret: Annotated[str | None, typer.Option("--secret", help="whsec_…, if you have one already.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have events sent to an address; prints its id and, this once, the secret."""
    with connect() as client:
        made = client.create_webhook(url, events=event, secret=secret)
    print_json(made) if as_json else typer.echo(f"{made['id']}\n{made['secret']}")


@app.command("list")
def list_webhooks(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List webhooks, newest first."""
    with connect() as client:
        found = list(client.webhooks(limit=limit))
    if as_json:
        print_json(found)
        return
    _print([_row(webhook) for webhook in found], ("ID", "ON", "EVENTS", "URL", "LAST"), "No webhooks.")


@app.command()
def show(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Show a webhook: what it is told of, whether it is on, since when it fails."""
    with connect() as client:
        found = client.get_webhook(webhook_id)
    if as_json:
        print_json(found)
        return
    why = f" ({found['disabled_reason']})" if found["disabled_reason"] else ""
    facts = {
        "url": found["url"],
        "events": " ".join(found["events"]) or "those that jobs ask for",
        "state": ("on" if found["enabled"] else "off") + why,
        "delivered": ago(found["last_delivered_at"]) or "never",
        "failing": ago(found["failing_since"]) or "no",
    }
    typer.echo("\n".join([found["id"], *(f"{name:<10}  {value}" for name, value in facts.items())]))


@app.command()
def enable(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Switch a webhook on; what it still has to be told is tried at once."""
    _switch(webhook_id, on=True, as_json=as_json)


@app.command()
def disable(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Switch a webhook off: meanwhile nothing is kept for it."""
    _switch(webhook_id, on=False, as_json=as_json)


@app.command()
def delete(webhook_id: WebhookId) -> None:
    """Delete a webhook and its log."""
    with connect() as client:
        client.delete_webhook(webhook_id)
    typer.echo(f"{webhook_id}  deleted")


@app.command()
def rotate(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Make a new secret and print it, this once; for a day the old one signs too."""
    with connect() as client:
        made = client.rotate_webhook_secret(webhook_id)
    print_json(made) if as_json else typer.echo(made["secret"])


@app.command()
def test(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send a test event and say what the receiver answered; exit code 1 unless it took it."""
    with connect() as client:
        found = client.test_webhook(webhook_id)
        end = time.monotonic() + _TEST_SECONDS
        while not found["tries"] and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
            found = client.get_webhook_delivery(webhook_id, found["id"])
    if as_json:
        print_json(found)
    elif found["tries"]:
        typer.echo(_words(found["tries"][-1]))
    else:
        err().print("Not sent yet: is the scheduler at work? (modelwright webhooks deliveries shows it later.)")
    raise typer.Exit(Exit.DONE if found["state"] == "succeeded" else Exit.FAILED)


@app.command()
def deliveries(
    webhook_id: WebhookId,
    state: Annotated[
        list[str] | None, typer.Option("--state", "-s", help="pending, succeeded, failed; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was sent, newest first, with the last answer."""
    with connect() as client:
        found = list(client.webhook_deliveries(webhook_id, states=state or (), limit=limit))
    if as_json:
        print_json(found)
        return
    _print([_delivery_row(one) for one in found], ("EVENT", "STATE", "TYPE", "TRIES", "LAST"), "Nothing was sent.")


@app.command()
def redeliver(
    webhook_id: WebhookId,
    event_id: Annotated[str, typer.Argument(metavar="EVENT", help="The event's id (evt_…).")],
    as_json: AsJson = False,
) -> None:
    """Deliver an event once more, with its old id."""
    with connect() as client:
        found = client.redeliver(webhook_id, event_id)
    print_json(found) if as_json else typer.echo(f"{found['id']}  {found['state']}")


def _switch(webhook_id: str, *, on: bool, as_json: bool) -> None:
    with connect() as client:
        found = client.change_webhook(webhook_id, enabled=on)
    print_json(found) if as_json else typer.echo(f"{found['id']}  {'on' if found['enabled'] else 'off'}")


def _row(webhook: Mapping[str, Any]) -> tuple[str, ...]:
    last = ago(webhook["last_delivered_at"])
    events = " ".join(webhook["events"]) or "–"
    return (webhook["id"], "on" if webhook["enabled"] else "off", events, webhook["url"], last)


def _delivery_row(delivery: Mapping[str, Any]) -> tuple[str, ...]:
    last = _words(delivery["tries"][-1]) if delivery["tries"] else ""
    return (delivery["id"], delivery["state"], delivery["event_type"], str(delivery["tried"]), last)


def _words(one: Mapping[str, Any]) -> str:
    """Return one try in a line."""
    if one["status"] is None:
        return str(one["error"])
    return f"HTTP {one['status']} in {one['latency_ms']:.0f} ms"


def _print(rows: list[tuple[str, ...]], columns: tuple[str, ...], nothing: str) -> None:
    """Print a table on a terminal, tab-separated lines in a pipe."""
    console = out()
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    if not rows:
        console.print(nothing, style="dim")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=column in ("ID", "EVENT"), overflow="fold")
    for first, state, *rest in rows:
        table.add_row(first, Text(state, _STYLES.get(state, "")), *rest)
    console.print(table)
