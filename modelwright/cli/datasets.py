"""``modelwright datasets``: list, upload, show, preview, delete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from modelwright.cli import dataset_tables, watching
from modelwright.cli.console import AsJson, CreatedAfter, connect, err, out, print_json
from modelwright.cli.exits import UsageError

app = typer.Typer(help="Data sets: yours and the built-in ones.", invoke_without_command=True, add_completion=False)

DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="An id (ds_…), or the name of a built-in one.")]


@app.callback()
def datasets(context: typer.Context) -> None:
    """Data sets: yours and the built-in ones; without a command, list them."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(
    owner: Annotated[str | None, typer.Option("--owner", help="Only `own` ones, or only `builtin` ones.")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", "-s", help="Only in this state; repeatable.")] = None,
    created_after: CreatedAfter = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List data sets: yours, newest first, then the built-in ones."""
    with connect() as client:
        found = list(client.datasets(owner=owner, states=state or (), created_after=created_after, limit=limit))
    print_json(found) if as_json else dataset_tables.print_list(found, out())


@app.command()
def upload(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, npy, npz, safetensors, Parquet, text, image zip.")],
    format_: Annotated[str | None, typer.Option("--format", "-f", help="Where the suffix does not say.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="By default the file's own.")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="The column to predict by default.")] = None,
    options: Annotated[
        str | None, typer.Option("--options", "-o", help='How to read it, as JSON: \'{"delimiter": ";"}\'.')
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file; prints the data set's id. A cut upload is continued by the same command."""
    if not file.is_file():
        raise UsageError(f"{file} is no file.")
    with connect() as client, watching.bytes_bar(err(), file.name) as progress:
        made = client.upload_dataset(
            file, format=format_, name=name, target=target, options=_options(options), progress=progress
        )
    if as_json:
        print_json(made)
    else:
        typer.echo(made["id"])
        dataset_tables.print_columns(made, err())


@app.command()
def show(dataset_id: DatasetId, as_json: AsJson = False) -> None:
    """Show a data set and its columns."""
    with connect() as client:
        found = client.get_dataset(dataset_id)
    print_json(found) if as_json else dataset_tables.print_dataset(found, out())


@app.command()
def preview(
    dataset_id: DatasetId,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, max=100, help="How many rows.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show the first rows and the statistics of each column."""
    with connect() as client:
        found = client.preview_dataset(dataset_id, rows=rows)
    print_json(found) if as_json else dataset_tables.print_preview(found, out())


@app.command()
def delete(dataset_id: DatasetId) -> None:
    """Delete a data set; what was trained on it stays."""
    with connect() as client:
        client.delete_dataset(dataset_id)
    typer.echo(f"{dataset_id}  deleted")


def _options(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        options = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--options is not JSON: {error}.") from error
    if not isinstance(options, dict):
        raise UsageError("--options takes a JSON object.")
    return options
