"""`modelwright backup` and `modelwright restore`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from modelwright.cli import exits
from modelwright.cli.console import AsJson, err, print_json
from modelwright.cli.exits import Exit
from modelwright.credentials import DEFAULT_FOLDER

Data = Annotated[
    Path, typer.Option("--data", envvar="MODELWRIGHT_DATA_DIR", help="The folder of the service (see `up`).")
]


def back_up(
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder for the backup.")],
    data: Data = Path(DEFAULT_FOLDER),
    as_json: AsJson = False,
) -> None:
    """Back up the whole service: jobs, models, data sets, checkpoints, keys. It may go on working meanwhile."""
    from modelwright.server import service_backup  # noqa: PLC0415 - the servers' code is for these commands alone

    target, data = _absolute(target), _absolute(data)
    manifest = _explained(lambda: service_backup.save(target, data), as_json=as_json)
    _say(manifest, target, as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `modelwright backup` wrote.")],
    data: Data = Path(DEFAULT_FOLDER),
    as_json: AsJson = False,
) -> None:
    """Make a new service from a backup, in a folder that does not exist yet; `up --data` starts it."""
    from modelwright.server import service_backup  # noqa: PLC0415

    source, data = _absolute(source), _absolute(data)
    manifest = _explained(lambda: service_backup.restore(source, data), as_json=as_json)
    _say(manifest, data, as_json=as_json)


def _explained(action: Callable[[], dict[str, Any]], *, as_json: bool) -> dict[str, Any]:
    from modelwright.server.process import ServerError  # noqa: PLC0415

    try:
        return action()
    except ServerError as error:
        exits.explain(error, err(), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None


def _say(manifest: dict[str, Any], place: Path, *, as_json: bool) -> None:
    from modelwright.server.backup import size_bytes  # noqa: PLC0415

    said = {"path": str(place), "created_at": manifest["created_at"], "size_bytes": size_bytes(manifest)}
    print_json(said) if as_json else typer.echo(str(place))


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()
