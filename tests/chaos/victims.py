"""Who may be struck: the processes of a running service by what they are, found at the moment of the blow."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.chaos.service import Service, Standing

MOST_CRASHES = 2
"""A job that has died so often before is struck once more and then spared.

The rules of the service end a job at its fifth death, and at the second in a row without a new checkpoint. They are
right to, and `tests/acceptance` shows that they do; here it would hide whether a job survives. So nobody is struck
whose end the rules would ask for. The fourth death that they would forgive is kept in reserve for what the faults of
the servers, which spare nobody, may do to a job.
"""


@dataclass(frozen=True, slots=True)
class Victim:
    """Processes to be struck together, and the unfinished jobs that lose their worker by it, with their epochs."""

    processes: tuple[psutil.Process, ...]
    jobs: tuple[tuple[str, int], ...] = ()


def control_victims(service: Service, kind: str) -> list[Victim]:
    """Return the processes without a job: ``api``, ``preflight``, ``scheduler``, ``beat``."""
    kept = service.kept["api" if kind in ("api", "preflight") else "scheduler"]
    if kept.pid is None:
        return []
    with suppress(psutil.NoSuchProcess):
        main = psutil.Process(kept.pid)
        if kind in ("api", "scheduler"):
            return [Victim((main,))]
        children = [child for child in main.children() if _is_fork_server(child) == (kind == "preflight")]
        return [Victim((child,)) for child in children if "resource_tracker" not in " ".join(child.cmdline())]
    return []


def attempt_victims(service: Service, kind: str, struck: set[tuple[str, int]]) -> list[Victim]:
    """Return what can be struck of the workers' processes: none whose job the rules would end or that was struck."""
    standings = service.standings() or {}
    owned = {one.owner: one for one in standings.values() if one.owner is not None}
    spared = {pid for pid, one in owned.items() if not _may_die(one, struck)}
    if kind == "main":
        return _mains(service, owned, spared)
    found = [_of_owner(kind, pid, one) for pid, one in owned.items() if pid not in spared]
    return [victim for victim in found if victim is not None]


def _may_die(one: Standing, struck: set[tuple[str, int]]) -> bool:
    fresh = (one.job_id, one.epoch) not in struck
    return fresh and one.state == "running" and one.crashes <= MOST_CRASHES and one.barren == 0


def _of_owner(kind: str, pid: int, one: Standing) -> Victim | None:
    jobs = ((one.job_id, one.epoch),)
    with suppress(psutil.NoSuchProcess):
        owner = psutil.Process(pid)
        if kind == "supervisor":
            return Victim((owner,), jobs)
        servers = [child for child in owner.children() if _is_fork_server(child)]
        trainers = [child for server in servers for child in server.children()]
        if kind == "zombie":
            return Victim((owner, *trainers), jobs) if trainers else None
        chosen = servers if kind == "fork_server" else trainers
        return Victim((chosen[0],), jobs) if trainers else None
    return None


def _mains(service: Service, owned: dict[int | None, Standing], spared: set[int | None]) -> list[Victim]:
    """Return Celery's main processes that have work, and none of whose jobs is to be spared."""
    found = []
    for kept in service.kept.values():
        if kept.name.startswith("worker") and kept.pid is not None:
            with suppress(psutil.NoSuchProcess):
                main = psutil.Process(kept.pid)
                children = {child.pid for child in main.children()}
                jobs = tuple((owned[pid].job_id, owned[pid].epoch) for pid in children if pid in owned)
                if jobs and not children & spared and not any(_is_stopped(child) for child in main.children()):
                    found.append(Victim((main,), jobs))
    return found


def _is_fork_server(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "services.forkserver" in process.cmdline()
    return False


def _is_stopped(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_STOPPED)
    return True
