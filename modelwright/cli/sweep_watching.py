"""Following a sweep: a live table in a terminal, a line for each trial that ends in a pipe, JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live

from modelwright.cli.sweep_tables import sweep_view
from modelwright.cli.tables import number
from modelwright.client import Client

Sweep = dict[str, Any]
_ENDED = ("succeeded", "failed", "pruned", "cancelled", "invalid")
_LINES_BESIDE_TRIALS = 7


def follow(client: Client, sweep_id: str, console: Console, *, as_json: bool) -> Sweep:
    """Show every change of a sweep until it has ended, and return it as it then is.

    ``console`` is standard error, or standard output for ``as_json``.
    """
    if as_json:
        return _follow_json(client, sweep_id, console)
    return (_follow_live if console.is_terminal else _follow_lines)(client, sweep_id, console)


class _Ended:
    """The trials of a sweep that have ended: each is fetched once, whatever the number of looks."""

    def __init__(self, client: Client, sweep_id: str) -> None:
        self._client = client
        self._sweep_id = sweep_id
        self._counted: Mapping[str, int] = {}
        self.trials: dict[int, dict[str, Any]] = {}

    def update(self, sweep: Sweep) -> list[dict[str, Any]]:
        """Return the trials that have ended since the last look."""
        counts = {state: count for state, count in sweep["progress"]["counts"].items() if state in _ENDED}
        if counts == self._counted:
            return []
        self._counted = counts
        found = self._client.trials(self._sweep_id, states=_ENDED)
        new = [trial for trial in found if trial["number"] not in self.trials]
        self.trials |= {trial["number"]: trial for trial in new}
        return new


def _follow_json(client: Client, sweep_id: str, console: Console) -> Sweep:
    sweep: Sweep = {}
    for sweep in client.watch(sweep_id):
        console.out(json.dumps(sweep), highlight=False)
    return sweep


def _follow_live(client: Client, sweep_id: str, console: Console) -> Sweep:
    sweep: Sweep = {}
    ended = _Ended(client, sweep_id)
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        for sweep in client.watch(sweep_id):
            ended.update(sweep)
            open_ = [{"objective": None, "problem": None, **trial} for trial in sweep["open"]]
            limit = max(3, console.height - _LINES_BESIDE_TRIALS)
            live.update(sweep_view(sweep, [*ended.trials.values(), *open_], limit=limit, width=console.width))
    return sweep


def _follow_lines(client: Client, sweep_id: str, console: Console) -> Sweep:
    sweep: Sweep = {}
    ended = _Ended(client, sweep_id)
    for sweep in client.watch(sweep_id):
        for trial in ended.update(sweep):
            value = "" if trial["objective"] is None else f"  {number(trial['objective'])}"
            console.out(f"trial {trial['number']}  {trial['state']}{value}", highlight=False)
    return sweep
