"""The commands and their options; what they do is elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from modelwright.cli import (
    account,
    backup,
    datasets,
    doctor,
    exits,
    history,
    keys,
    models,
    queue,
    sweeps,
    tables,
    tenants,
    watching,
    webhooks,
)
from modelwright.cli.console import AsJson, CreatedAfter, JobId, connect, err, out, print_json
from modelwright.cli.exits import Exit, UsageError
from modelwright.cli.files import read_job
from modelwright.client import Client
from modelwright.credentials import DEFAULT_FOLDER
from modelwright.errors import ModelwrightError

app = typer.Typer(
    name="modelwright",
    help="POST a model, get it trained.",
    epilog="The service and key come from MODELWRIGHT_URL and MODELWRIGHT_API_KEY, else from credentials.json in "
    "MODELWRIGHT_DATA_DIR, ./.modelwright or ~/.modelwright, where `modelwright up` puts it. Exit codes: 0 done, "
    "1 failed, 2 usage, 3 invalid job, 4 no access, 5 not found, 6 wrong state, 7 no connection, 8 the watched job "
    "failed, 9 it was cancelled, 10 corrupt download, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(datasets.app, name="datasets")
app.add_typer(sweeps.app, name="sweep")
app.add_typer(webhooks.app, name="webhooks")
app.command("sweeps")(sweeps.list_sweeps)
app.command()(account.login)
app.add_typer(keys.app, name="keys")
app.command()(account.usage)
app.command()(account.audit)
app.add_typer(tenants.app, name="tenants")
app.command("queue")(queue.queue)
app.command("workers")(queue.workers)
app.command("change")(queue.change)
app.add_typer(models.app, name="models")
app.command("doctor")(doctor.doctor)
app.command("validate")(models.validate)
app.command("events")(history.events)
app.command("logs")(history.logs)
app.command("metrics")(history.metrics)
app.command("backup")(backup.back_up)
app.command("restore")(backup.restore)


@app.command()
def submit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A job as JSON; - reads standard input.")],
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay until the job has ended.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check the job: shapes, parameters, memory.")] = False,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="Submitting again with it is harmless.")] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job; prints its id."""
    job = read_job(file)
    with connect() as client:
        if check:
            print_json(client.validate(job))
            return
        made = client.submit(job, idempotency_key=key)
        if watch:
            if not as_json:
                typer.echo(made["id"])
            raise typer.Exit(_watch(client, made["id"], as_json=as_json))
        print_json(made) if as_json else typer.echo(made["id"])


@app.command()
def watch(job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it has ended; the exit code says how."""
    with connect() as client:
        raise typer.Exit(_watch(client, job_id, as_json=as_json))


@app.command()
def jobs(
    state: Annotated[
        list[str] | None, typer.Option("--state", "-s", help="Only jobs in this state; repeatable.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="NAME=VALUE; repeatable.")] = None,
    created_after: CreatedAfter = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    labels = _labels(label or [])
    with connect() as client:
        found = list(client.list_jobs(states=state or (), labels=labels, created_after=created_after, limit=limit))
    print_json(found) if as_json else tables.print_jobs(found, out())


@app.command()
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job, its newest numbers and checkpoints."""
    with connect() as client:
        job = client.get_job(job_id)
        if as_json:
            print_json(job)
        else:
            tables.print_job(job, client.checkpoints(job_id, limit=5), out())


@app.command()
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a job; a running one writes a last checkpoint."""
    with connect() as client:
        job = client.cancel(job_id)
    print_json(job) if as_json else typer.echo(f"{job['id']}  {job['state']}")


@app.command()
def pause(job_id: JobId, as_json: AsJson = False) -> None:
    """Pause a job; a running one writes a checkpoint and frees its worker."""
    with connect() as client:
        job = client.pause(job_id)
    print_json(job) if as_json else typer.echo(f"{job['id']}  {job['state']}")


@app.command()
def resume(job_id: JobId, as_json: AsJson = False) -> None:
    """Put a paused job back into the queue."""
    with connect() as client:
        job = client.resume(job_id)
    print_json(job) if as_json else typer.echo(f"{job['id']}  {job['state']}")


@app.command()
def download(
    identifier: Annotated[str, typer.Argument(metavar="JOB|CHECKPOINT", help="A job means its newest checkpoint.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file or a folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download weights (safetensors), verified; prints where they are. A cut download is continued."""
    with connect() as client:
        checkpoint = client.find_checkpoint(identifier)
        with watching.bytes_bar(err(), checkpoint["id"]) as progress:
            path = client.download(checkpoint["id"], output, progress=progress)
    print_json({**checkpoint, "path": str(path)}) if as_json else typer.echo(str(path))


@app.command()
def predict(
    *,
    identifier: Annotated[str, typer.Argument(metavar="JOB|CHECKPOINT", help="A job means its newest checkpoint.")],
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Rows as CSV or JSON; - reads standard input.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", "-s", help="Instead: a part of the job's data (train, validation, test).")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Instead: another data set.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="How many rows to show at most.")] = None,
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=1000, help="Classes to give probabilities of.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Predict with a trained model: a table on a terminal, CSV in a pipe."""
    from modelwright.cli.predict import Asked, show_predictions  # noqa: PLC0415 - its tables are for this command alone

    with connect() as client:
        show_predictions(client, Asked(identifier, file, split, dataset, limit, top_k), as_json=as_json)


@app.command()
def graph(
    *,
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="A model, a job or a graph request as JSON; - is standard input."),
    ] = None,
    inputs: Annotated[str | None, typer.Option("--inputs", "-i", metavar="JSON|FILE", help="Inputs by name.")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="DATASET", help="Rows of a data set instead.")] = None,
    rows: Annotated[str | None, typer.Option("--rows", help="Which rows, for example 0-3,7.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Its model and weights, instead of FILE.")
    ] = None,
    output_of: Annotated[str | None, typer.Option("--output-of", help="The output that is differentiated.")] = None,
    leaf: Annotated[list[str] | None, typer.Option("--of", help="Only this input or parameter; repeatable.")] = None,
    gradients: Annotated[bool, typer.Option("--gradients/--no-gradients", help="Differentiate, path by path.")] = True,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the picture: .svg, .mmd, .dot or .json; - for a pipe.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--format", help="svg, mermaid, dot or json.")] = None,
    collapse: Annotated[
        str, typer.Option("--collapse", help="What is closed: auto, none, depth:N, or paths of modules.")
    ] = "auto",
    diff: Annotated[
        list[str] | None, typer.Option("--diff", metavar="JSON|FILE", help="Compare with these inputs; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a model once: its computational graph as a tree, the paths of its gradients, a picture."""
    from modelwright.cli.graph import show_diff, show_graph  # noqa: PLC0415 - its tables are for this command alone
    from modelwright.cli.graph_request import Asked  # noqa: PLC0415

    asked = Asked(file, inputs, data, rows, checkpoint, output_of, leaf or (), gradients)
    if diff and (output or kind):
        raise UsageError("--diff prints a table; it has no picture.")
    with connect() as client:
        if diff:
            show_diff(client, asked, diff, as_json=as_json)
        else:
            show_graph(client, asked, output=output, wanted=kind, collapse=collapse, as_json=as_json)


@app.command()
def up(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND…]", help="Run this, then stop the service.")
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", envvar="MODELWRIGHT_DATA_DIR", help="The folder for everything it keeps.")
    ] = Path(DEFAULT_FOLDER),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free port.")] = 8000,
    slots: Annotated[int | None, typer.Option("--slots", min=1, max=256, help="Jobs at a time.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what goes wrong.")] = False,
) -> None:
    """Run the whole service on this machine, until Ctrl-C. DATABASE_URL and REDIS_URL replace the embedded servers."""
    from modelwright.cli.up import run  # noqa: PLC0415 - the servers' code is for this command alone
    from modelwright.server.process import ServerError  # noqa: PLC0415
    from modelwright.server.stack import Options  # noqa: PLC0415

    options = Options(data.expanduser().absolute(), port, slots or _default_slots())
    try:
        status = run(options, err(), command=command or (), quiet=quiet)
    except ServerError as error:
        exits.explain(error, err(), as_json=False)
        status = Exit.FAILED
    raise typer.Exit(status)


def main() -> None:
    """Run the command line; errors become one message and an exit code, never a traceback."""
    try:
        app()
    except (ModelwrightError, UsageError, OSError) as error:
        exits.explain(error, err(), as_json="--json" in sys.argv)
        sys.exit(exits.code_of(error))


def _watch(client: Client, job_id: str, *, as_json: bool) -> Exit:
    console = out() if as_json else err()
    try:
        job = watching.follow(client.watch(job_id), console, as_json=as_json)
    except KeyboardInterrupt:
        err().print(f"\nThe job goes on.\n  modelwright watch {job_id}\n  modelwright cancel {job_id}", soft_wrap=True)
        return Exit.INTERRUPTED
    if not as_json:
        console.print(watching.summary(job), soft_wrap=True)
        if job.get("error"):
            console.print(tables.failure_text(job["error"]))
    return exits.OF_STATE.get(job["state"], Exit.FAILED)


def _labels(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--label takes NAME=VALUE, not {pair!r}.")
    return dict(pair.split("=", 1) for pair in pairs)


def _default_slots() -> int:
    """As many as half the processors, because a trainer and its supervisor share the machine with the servers."""
    return max(1, min(4, (os.cpu_count() or 2) // 2))
