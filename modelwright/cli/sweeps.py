"""``modelwright sweep``: begin, list, show, watch, cancel sweeps; the picture and the table of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelwright.cli import exits, sweep_tables
from modelwright.cli.console import AsJson, CreatedAfter, connect, err, out, print_json
from modelwright.cli.exits import Exit
from modelwright.cli.files import read_document
from modelwright.client import Client


class FileOrCommand(TyperGroup):
    """``sweep FILE`` is short for ``sweep run FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer does not name its type
        """Put ``run`` in front of what is no command and no plea for help."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=FileOrCommand,
    help="Sweeps: the best values for the fields of a job. `sweep FILE` is short for `sweep run FILE`.",
    no_args_is_help=True,
    add_completion=False,
)

SweepId = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's id (swp_…).")]


@app.command()
def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A sweep as JSON; - reads standard input.")],
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay until the sweep has ended.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check it: pointers, values, the base job.")] = False,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="Beginning again with it is harmless.")] = None,
    as_json: AsJson = False,
) -> None:
    """Begin a sweep; prints its id."""
    request = read_document(file, "a sweep")
    with connect() as client:
        if check:
            print_json(client.validate_sweep(request))
            return
        made = client.sweep(request, idempotency_key=key)
        if watch:
            if not as_json:
                typer.echo(made["id"])
            raise typer.Exit(_follow(client, made["id"], as_json=as_json))
        print_json(made) if as_json else typer.echo(made["id"])


def list_sweeps(
    state: Annotated[list[str] | None, typer.Option("--state", "-s", help="Only in this state; repeatable.")] = None,
    created_after: CreatedAfter = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List sweeps, newest first."""
    with connect() as client:
        found = list(client.sweeps(states=state or (), created_after=created_after, limit=limit))
    print_json(found) if as_json else sweep_tables.print_list(found, out())


@app.command()
def show(
    sweep_id: SweepId,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many trials, the best first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show a sweep and its best trials."""
    with connect() as client:
        sweep = client.get_sweep(sweep_id)
        trials = list(client.trials(sweep_id))
    if as_json:
        print_json({**sweep, "data": trials})
    else:
        sweep_tables.print_sweep(sweep, trials, out(), limit=limit)


@app.command()
def watch(sweep_id: SweepId, as_json: AsJson = False) -> None:
    """Follow a sweep until it has ended; the exit code says how."""
    with connect() as client:
        raise typer.Exit(_follow(client, sweep_id, as_json=as_json))


@app.command()
def cancel(sweep_id: SweepId, as_json: AsJson = False) -> None:
    """Cancel a sweep and its jobs; what it found stays."""
    with connect() as client:
        sweep = client.cancel_sweep(sweep_id)
    print_json(sweep) if as_json else typer.echo(f"{sweep['id']}  {sweep['state']}")


@app.command()
def picture(
    sweep_id: SweepId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; by default <id>.svg here.")] = None,
) -> None:
    """Draw a sweep as parallel coordinates (SVG); prints where."""
    with connect() as client:
        drawn = client.sweep_picture(sweep_id)
    place = output or Path(f"{sweep_id}.svg")
    place.write_text(drawn, encoding="utf-8")
    typer.echo(str(place))


def _follow(client: Client, sweep_id: str, *, as_json: bool) -> Exit:
    from modelwright.cli.sweep_watching import follow  # noqa: PLC0415 - rich's live display is for this command alone

    try:
        sweep: dict[str, Any] = follow(client, sweep_id, out() if as_json else err(), as_json=as_json)
    except KeyboardInterrupt:
        again = f"  modelwright sweep watch {sweep_id}\n  modelwright sweep cancel {sweep_id}"
        err().print(f"\nThe sweep goes on.\n{again}", soft_wrap=True)
        return Exit.INTERRUPTED
    if not as_json:
        sweep_tables.print_sweep(sweep, list(client.trials(sweep_id)), err(), limit=10)
    return exits.OF_STATE.get(sweep["state"], Exit.FAILED)
