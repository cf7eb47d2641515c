"""Commands for models: check a definition, keep it, look at it as a tree and as PyTorch."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from modelwright.cli.console import AsJson, CreatedAfter, connect, out, print_json
from modelwright.cli.files import read_job

app = typer.Typer(help="Models: definitions that are kept.", no_args_is_help=True)

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="The model's id (mdl_…).")]
File = Annotated[str, typer.Argument(metavar="FILE", help="A model as JSON; - reads standard input.")]


def validate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A model or a job as JSON; - reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Check a model or a job without running it: shapes, parameters, memory."""
    content = read_job(file)
    with connect() as client:
        report = client.validate(content) if "training" in content else client.validate_model(content)
    if as_json:
        print_json(report)
        return
    typer.echo(_verdict(report))


@app.command("create")
def create(file: File, as_json: AsJson = False) -> None:
    """Check a definition and keep it; prints its id. The same content is the same model."""
    with connect() as client:
        model = client.create_model(read_job(file))
    print_json(model) if as_json else typer.echo(model["id"])


@app.command("list")
def list_models(
    created_after: CreatedAfter = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List models, newest first."""
    with connect() as client:
        found = list(client.list_models(created_after=created_after, limit=limit))
    if as_json:
        print_json(found)
        return
    console = out()
    rows = [(one["id"], f"{_parameters(one):,}", one["created_at"][:19]) for one in found]
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    table = Table("model", "parameters", "created", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    console.print(table)


@app.command("show")
def show(model_id: ModelId, as_json: AsJson = False) -> None:
    """Show a model as a tree, with shapes and counts."""
    with connect() as client:
        if as_json:
            print_json(client.get_model(model_id))
        else:
            typer.echo(client.model_summary(model_id).rstrip())


@app.command("source")
def source(model_id: ModelId) -> None:
    """Print a model as plain PyTorch; build_model() in it is the model."""
    with connect() as client:
        typer.echo(client.model_source(model_id).rstrip())


def _parameters(model: dict[str, Any]) -> int:
    return int(model["parameters"]["total"])


def _verdict(report: dict[str, Any]) -> str:
    """Return what the checks found, in a line; of a job also how long it will take."""
    parameters = report.get("preflight", report)["parameters"]
    said = f"valid  {parameters['total']:,} parameters, {parameters['trainable']:,} of them train"
    estimate = report.get("estimate") or {}
    if estimate.get("low_seconds") is not None:
        said += f"  about {estimate['low_seconds']:.0f} to {estimate['high_seconds']:.0f} s"
    return said
