"""Sweeps as text: the list, one sweep with its trials, the best first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modelwright.cli.tables import STYLES, ago, number

Sweep = Mapping[str, Any]
Trial = Mapping[str, Any]

_STYLES = {**STYLES, "stopping": "yellow", "pruned": "magenta", "invalid": "dim", "proposed": "dim", "settling": "cyan"}
_STATES_SHOWN = (
    "running",
    "starting",
    "settling",
    "queued",
    "succeeded",
    "pruned",
    "failed",
    "cancelled",
    "invalid",
    "proposed",
)
_BAR_WIDTH = 24
_VALUE_CHARACTERS = 28
_WIDE = 90


def print_list(sweeps: Sequence[Sweep], console: Console) -> None:
    """Print sweeps as a table, or for a pipe as tab-separated lines: id, state, percent, name, best objective."""
    if not console.is_terminal:
        for sweep in sweeps:
            typer.echo("\t".join(_row(sweep)))
        return
    if not sweeps:
        console.print("No sweeps.")
        return
    table = Table("ID", "STATE", "DONE", "NAME", "BEST", *(["CREATED"] if console.width >= _WIDE else []), box=None)
    for sweep in sweeps:
        identifier, state, *cells = _row(sweep)
        moment = [ago(sweep.get("created_at"))] if console.width >= _WIDE else []
        table.add_row(Text(identifier, no_wrap=True), _state(state), *cells, *moment)
    console.print(table)


def print_sweep(sweep: Sweep, trials: Iterable[Trial], console: Console, *, limit: int) -> None:
    """Print a sweep and up to ``limit`` of its trials."""
    console.print(sweep_view(sweep, list(trials), limit=limit, width=console.width))


def sweep_view(sweep: Sweep, trials: Sequence[Trial], *, limit: int, width: int) -> RenderableType:
    """Return a sweep's head line, its bar, its best trial, and a table of trials that fits into ``width``."""
    parts: list[RenderableType] = [_head(sweep), _bar(sweep), *_best(sweep)]
    if trials:
        parts += [Text(), _table(sweep, trials, limit, width)]
        if len(trials) > limit:
            parts.append(Text(f"… and {len(trials) - limit} more", "dim"))
    return Group(*parts)


def _row(sweep: Sweep) -> tuple[str, str, str, str, str]:
    best = sweep.get("best")
    value = number(best["objective"]) if best else ""
    return (sweep["id"], sweep["state"], f"{sweep['progress']['percent']:.0f}%", sweep.get("name") or "", value)


def _head(sweep: Sweep) -> Text:
    text = Text.assemble((sweep["id"], "bold"), "  ", _state(sweep["state"]))
    text.append(f" ({sweep['reason']})" if sweep.get("reason") else "", "dim")
    text.append(f"  {sweep['name']}" if sweep.get("name") else "")
    objective = sweep["objective"]
    return text.append(f"  {sweep['strategy']}, {objective['mode']} {objective['metric']}", "dim")


def _bar(sweep: Sweep) -> RenderableType:
    progress = sweep["progress"]
    counts = Text()
    for state in _STATES_SHOWN:
        if progress["counts"].get(state):
            counts.append(f"  {progress['counts'][state]} ", _STYLES.get(state, "")).append(state)
    line = Table.grid()
    bar = ProgressBar(total=max(progress["trials"], 1), completed=progress["ended"], width=_BAR_WIDTH)
    line.add_row(bar, Text(f" {progress['ended']}/{progress['trials']}"), counts)
    return line


def _best(sweep: Sweep) -> list[RenderableType]:
    best = sweep.get("best")
    if not best:
        return []
    text = Text.assemble("best  ", (number(best["objective"]), "bold green"), f"  trial {best['trial']}")
    for pointer, value in best["parameters"].items():
        text.append(f"  {_name(pointer)} ", "dim").append(_value(value))
    if best.get("checkpoint_id"):
        text.append(f"\n      {best['checkpoint_id']}", "dim")
    return [text]


def _table(sweep: Sweep, trials: Sequence[Trial], limit: int, width: int) -> Table:
    pointers = list(sweep["space"])
    table = Table(
        "#", "STATE", "OBJECTIVE", *map(_name, pointers), "STEP", box=None, header_style="bold", pad_edge=False
    )
    if width >= _WIDE:
        table.add_column("NOTE", style="dim")
    for trial in _ranked(trials, sweep["objective"]["mode"])[:limit]:
        values = [_value(trial["parameters"].get(pointer)) for pointer in pointers]
        cells: list[Text | str] = [_state(trial["state"]), _objective(trial), *values, _step(trial)]
        table.add_row(str(trial["number"]), *cells, *([_note(trial)] if width >= _WIDE else []))
    return table


def _ranked(trials: Sequence[Trial], mode: str) -> list[Trial]:
    """Return what trains first, then what has a value from the best on, then the rest by number."""
    sign = 1 if mode == "min" else -1

    def order(trial: Trial) -> tuple[int, float]:
        value = trial["objective"]
        if trial["state"] in ("running", "starting", "cancelling", "settling"):
            return 0, trial["number"]
        return (1, sign * value) if value is not None else (2, trial["number"])

    return sorted(trials, key=order)


def _objective(trial: Trial) -> Text:
    if trial["objective"] is not None:
        return Text(number(trial["objective"]))
    return Text(number(trial["latest"]), "dim") if trial.get("latest") is not None else Text("")


def _step(trial: Trial) -> str:
    if not trial.get("total_steps"):
        return ""
    return f"{trial.get('step') or 0}/{trial['total_steps']}"


def _note(trial: Trial) -> str:
    problem = trial.get("problem")
    return "" if not problem else str(problem.get("code"))


def _state(state: str) -> Text:
    return Text(state, _STYLES.get(state, ""))


def _name(pointer: str) -> str:
    return pointer.rsplit("/", 1)[1].replace("~1", "/").replace("~0", "~")


def _value(value: object) -> str:
    text = number(value) if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[: _VALUE_CHARACTERS - 1]}…"
