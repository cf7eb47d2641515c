"""Keep the service busy for an hour with one fault a minute: ``python -m tests.chaos.soak --minutes 60``.

Prints how the memory of each kind of process went, then judges the history as `tests.chaos.check` does. A process that
is struck begins anew: a slope is that of the longest-lived one. *Own* is what no other process shares: it grows in both
halves of a fork when either writes, up to all that they shared. *Resident* does not, and what leaks grows there, too.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.chaos import check
from tests.chaos.plan import CONTROL, Fault, Plan, Scale
from tests.chaos.run import Options, run
from tests.chaos.service import Service

_FAULTS = {"trainer": 20, "zombie": 12, "supervisor": 6, "fork_server": 4, "main": 2, "api": 3, "preflight": 2} | {
    "scheduler": 2,
    "beat": 1,
    "redis_flush": 2,
    "redis_kill": 2,
    "postgres_kill": 4,
}
"""Of 60 faults. Most cost a job its trainer alone, so that other processes live long enough to be weighed."""
_SAMPLE_SECONDS = 5.0
_WARM_SECONDS = 90.0
"""So long after its first sample a process is still filling its caches, and is not weighed."""
_MEBIBYTE = 1 << 20


@dataclass
class Life:
    """The memory of one process: (seconds, own bytes, resident bytes) samples."""

    role: str
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def warm(self) -> list[tuple[float, int, int]]:
        """The samples after the first moments."""
        return [one for one in self.samples if one[0] - self.samples[0][0] >= _WARM_SECONDS]

    @property
    def seconds(self) -> float:
        """How long it was seen."""
        return self.samples[-1][0] - self.samples[0][0]

    def slope(self, column: int) -> float | None:
        """Return MiB an hour of own (1) or resident (2) memory by least squares; None for a life that was too short."""
        warm = self.warm
        if len(warm) < 12:
            return None
        mean_at = sum(sample[0] for sample in warm) / len(warm)
        mean = sum(sample[column] for sample in warm) / len(warm)
        spread = sum((sample[0] - mean_at) ** 2 for sample in warm)
        shared = sum((sample[0] - mean_at) * (sample[column] - mean) for sample in warm)
        return shared / spread * 3600 / _MEBIBYTE


class Scales:
    """Weighs every process of a service now and then, from a thread."""

    def __init__(self, service: Service) -> None:
        self.lives: dict[tuple[int, float], Life] = {}
        self._service = service
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scales", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Weigh no more."""
        self._stopped.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            for role, process in self._processes():
                with suppress(psutil.Error):
                    key = (process.pid, process.create_time())
                    memory = process.memory_full_info()
                    sample = (time.monotonic(), memory.uss, memory.rss)
                    self.lives.setdefault(key, Life(role)).samples.append(sample)

    def _processes(self) -> list[tuple[str, psutil.Process]]:
        found: list[tuple[str, psutil.Process]] = []
        for name, pid in {kept.name: kept.pid for kept in self._service.kept.values()}.items():
            with suppress(psutil.Error):
                if pid is not None:
                    found += _roles("worker" if name.startswith("worker") else name, psutil.Process(pid))
        for name, server in (("PostgreSQL", self._service.postgres), ("Valkey", self._service.valkey)):
            with suppress(psutil.Error):
                if server.pid is not None:
                    found.append((name, psutil.Process(server.pid)))
        return found


def _roles(program: str, main: psutil.Process) -> list[tuple[str, psutil.Process]]:
    found = [(program, main)]
    for child in main.children():
        forks = "services.forkserver" in child.cmdline()
        other = {"worker": "supervisor", "scheduler": "beat"}.get(program, f"child of {program}")
        found.append((f"{program}'s fork server" if forks else other, child))
        if program == "worker":
            found += [("trainers' fork server", server) for server in child.children()]
    return found


def make_soak_plan(seed: int, minutes: int) -> Plan:
    """Draw one fault a minute, at random within it."""
    chance = random.Random(seed)
    kinds = [kind for kind, count in _FAULTS.items() for _ in range(count)]
    lanes: dict[str, list[Fault]] = {"control": [], "attempts": [], "servers": []}
    last = dict.fromkeys(lanes, 0.0)
    for minute in range(minutes):
        kind = chance.choice(kinds)
        lane = "control" if kind in CONTROL else "servers" if kind.startswith(("redis", "postgres")) else "attempts"
        at = (minute + chance.uniform(0.1, 0.9)) * 60
        pick, hold = round(chance.random(), 6), round(chance.uniform(0.0, 3.0), 3)
        lanes[lane].append(Fault(round(at - last[lane], 3), kind, pick, hold))
        last[lane] = at
    scale = Scale(jobs=1, kills=0, redis_wipes=0, postgres_kills=0, zombies=0, seconds=minutes * 60.0)
    return Plan(seed, scale, {name: tuple(lane) for name, lane in lanes.items()})


def table(scales: Scales) -> list[str]:
    """Return a line for each kind of process: how many lived, and the memory of the one that lived longest."""
    titles = ("lives", "longest, min", "own, MiB", "last", "MiB/h", "resident, MiB", "last", "MiB/h")
    lines = ["process".ljust(22) + "".join(title.rjust(len(title) + 3) for title in titles)]
    by_role: dict[str, list[Life]] = {}
    for life in scales.lives.values():
        by_role.setdefault(life.role, []).append(life)
    for role, lives in sorted(by_role.items()):
        longest = max(lives, key=lambda life: life.seconds)
        shown = [str(len(lives)), f"{longest.seconds / 60:.1f}"]
        for column in (1, 2):
            first, last = (longest.warm or longest.samples)[0][column], longest.samples[-1][column]
            slope = longest.slope(column)
            shown += [f"{first / _MEBIBYTE:.1f}", f"{last / _MEBIBYTE:.1f}", "–" if slope is None else f"{slope:.1f}"]
        lines.append(role.ljust(22) + "".join(one.rjust(len(t) + 3) for one, t in zip(shown, titles, strict=True)))
    return lines


def main() -> int:
    """Run as the command line says; exit 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--history", type=Path, default=Path("soak-history.ndjson"))
    said = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = make_soak_plan(said.seed, said.minutes)
    scales: list[Scales] = []
    options = Options(said.seed, plan.scale, workers=2, at_once=2, within_seconds=2 * plan.scale.seconds)
    with tempfile.TemporaryDirectory(prefix="modelwright-soak-", ignore_cleanup_errors=True) as directory:
        history = run(
            options, Path(directory), said.history, plan=plan, started=lambda service: scales.append(Scales(service))
        )
    scales[0].stop()
    print("\n".join(table(scales[0])))
    return int(check.report(history) > 0)


if __name__ == "__main__":
    sys.exit(main())
