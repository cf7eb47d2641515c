"""A job's place in the line: how many go first, when its turn will probably come, and what it waits for.

The order is foretold by the rule of the claim (`services.jobs.turns`), as if nothing were submitted and nothing ended
meanwhile; the time is that of the estimates, spread over the slots that are there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.jobs.line import Group, Key, Lane, Line, Standing
from services.pages import timestamp

_ROUNDED = ((60.0, 1), (600.0, 10), (float("inf"), 60))
"""Up to so many seconds ahead a time is told to so many seconds: finer would be a guess, and new with each look."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the place of a queued job depends on; ``start_after`` is None unless that was asked for."""

    job_id: str
    tenant_id: str
    device: str
    priority: int
    created_at: datetime
    start_after: datetime | None


@dataclass(frozen=True, slots=True)
class _Work:
    """Jobs that go first, and their seconds, where those are known of any of them."""

    jobs: int
    seconds: float
    known: int

    def __add__(self, other: _Work) -> _Work:
        return _Work(self.jobs + other.jobs, self.seconds + other.seconds, self.known + other.known)

    def filled(self, mean: float | None) -> float | None:
        """Return the seconds of all, those that are unknown taken for the mean; None where there is none."""
        unknown = self.jobs - self.known
        if unknown and mean is None:
            return None
        return self.seconds + unknown * (mean or 0.0)


_NOTHING = _Work(0, 0.0, 0)


def waiting_of(view: Mapping[str, Any], *, tenant_id: str) -> Waiting | None:
    """Return the queued job that ``view`` (`services.jobs.views.job_view`) shows; None for one in another state."""
    if view["state"] != "queued":
        return None
    start_after = view["start_after"] and datetime.fromisoformat(view["start_after"])
    return Waiting(
        view["id"],
        tenant_id,
        view["device"],
        view["priority"],
        datetime.fromisoformat(view["created_at"]),
        start_after,
    )


def place(line: Line, job: Waiting) -> dict[str, Any]:
    """Return ``position`` among its tenant's queued jobs (from 1), ``ahead``, ``eta``, ``waiting_for``."""
    fitting = [one for one in line.capacities if job.device in {"auto", *one.devices}]
    rivals = {"auto", job.device}.union(*(one.devices for one in fitting))
    slots = sum(one.slots for one in fitting)
    before = _own_before(line, job, rivals)
    own = before[0] + before[1]
    others = sum((_others_before(line, job, rivals, before, other) for other in line.groups), _NOTHING)
    held = job.start_after is not None and job.start_after > line.as_of
    ahead = own.jobs + others.jobs
    taken = [one.remaining for one in line.running if one.device in rivals]
    return {
        "position": None if held else own.jobs + 1,
        "ahead": None if held else ahead,
        "eta": timestamp(job.start_after if held else _eta(line, job, taken, slots, own=own, others=others)),
        "waiting_for": _start_time(job) if held else _waiting_for(line, job, slots, ahead=ahead, taken=len(taken)),
    }


def _own_before(line: Line, job: Waiting, rivals: set[str]) -> tuple[_Work, _Work]:
    """Return the queued jobs of the same tenant that go first: those of higher priority, and the older ones."""
    higher = older = _NOTHING
    for lane, group in line.groups.get(job.tenant_id, {}).items():
        if lane[0] in rivals and lane[1] > job.priority:
            higher += _part(group, group.jobs)
        elif lane[0] in rivals and lane[1] == job.priority:
            older += _part(group, _rank(line, job, lane, group))
    return higher, older


def _rank(line: Line, job: Waiting, lane: Lane, group: Group) -> int:
    """Return how many jobs of a lane of the job's own tenant are older than it."""
    older = bisect_left(line.keys.get((job.tenant_id, lane), []), (job.created_at, job.job_id))
    if line.stride == 1:
        return older
    return min(group.jobs, max(0, older * line.stride - line.stride // 2))


def _others_before(line: Line, job: Waiting, rivals: set[str], own: tuple[_Work, _Work], other: str) -> _Work:
    """Return the queued jobs of another tenant that go first: all of higher priority, then turn by turn."""
    if other == job.tenant_id:
        return _NOTHING
    higher, equal = _NOTHING, []
    for (device, priority), group in line.groups[other].items():
        if device in rivals and priority > job.priority:
            higher += _part(group, group.jobs)
        elif device in rivals and priority == job.priority:
            equal.append(group)
    mine = _standing(line, job.tenant_id).running + own[0].jobs
    theirs = _standing(line, other).running + higher.jobs
    # Whoever has more running when turns of this priority begin is not served again before the other has as many.
    first = theirs > mine if theirs != mine else _served_before(line, job, rivals, own[0], higher, other)
    turns, work = mine + own[1].jobs - theirs + first, higher
    for group in equal:
        taken = max(0, min(turns, group.jobs))
        work, turns = work + _part(group, taken), turns - taken
    return work


def _served_before(  # noqa: PLR0917 - what the two tenants are compared by
    line: Line, job: Waiting, rivals: set[str], mine: _Work, theirs: _Work, other: str
) -> bool:
    """Tell whether of two tenants with as many running jobs the other one goes first."""
    if bool(mine.jobs) != bool(theirs.jobs):
        return mine.jobs > 0
    own, others = _standing(line, job.tenant_id).served_at, _standing(line, other).served_at
    if own is None and others is None:
        return _oldest(line, other, rivals, job) < _oldest(line, job.tenant_id, rivals, job)
    return others is None or (own is not None and others < own)


def _oldest(line: Line, tenant_id: str, rivals: set[str], job: Waiting) -> Key:
    """Return the key of the oldest queued job of a tenant with the priority of ``job``."""
    lanes = (line.keys.get((tenant_id, (device, job.priority))) for device in rivals)
    return min((keys[0] for keys in lanes if keys), default=(job.created_at, job.job_id))


def _part(group: Group, jobs: int) -> _Work:
    return _Work(jobs, jobs * (group.seconds or 0.0), jobs if group.seconds is not None else 0)


def _standing(line: Line, tenant_id: str) -> Standing:
    return line.standings.get(tenant_id) or Standing(0, None, None)


def _eta(
    line: Line, job: Waiting, taken: Sequence[float | None], slots: int, *, own: _Work, others: _Work
) -> datetime | None:
    """Return when a slot will probably be free for the job; None where nothing tells.

    ``taken`` says of each slot at work how many seconds it probably will be.
    """
    mean = _mean(line, taken)
    seconds = _free_after(taken, slots, (own + others).filled(mean), mean)
    limit = _standing(line, job.tenant_id).limit
    if seconds is not None and limit is not None:
        mine = [one.remaining for one in line.running if one.tenant_id == job.tenant_id]
        seat = _free_after(mine, limit, own.filled(mean), mean)
        seconds = None if seat is None else max(seconds, seat)
    if seconds is None:
        return None
    step = next(step for within, step in _ROUNDED if seconds <= within)
    moment = (line.as_of + timedelta(seconds=seconds)).timestamp()
    return datetime.fromtimestamp(-(-moment // step) * step, line.as_of.tzinfo)


def _free_after(taken: Sequence[float | None], slots: int, work: float | None, mean: float | None) -> float | None:
    """Return after how many seconds a slot is free, once ``work`` seconds of other jobs have gone through ``slots``."""
    if slots < 1 or work is None or (None in taken and mean is None):
        return None
    busy = sorted((mean or 0.0) if one is None else one for one in taken)
    free = [0.0] * max(0, slots - len(busy)) + busy
    return _level(free[:slots], work)


def _level(free: Sequence[float], work: float) -> float:
    """Return how high ``work`` stands when it is poured over slots that are free after so many seconds each."""
    poured = 0.0
    for count, (here, following) in enumerate(zip(free, [*free[1:], float("inf")], strict=True), start=1):
        room = (following - here) * count
        if poured + room >= work:
            return here + (work - poured) / count
        poured += room
    raise AssertionError("the last step has room for everything")


def _mean(line: Line, remaining: Iterable[float | None]) -> float | None:
    """Return what a job takes on average, by the estimates of those in the line, else by those that run."""
    groups = [group for lanes in line.groups.values() for group in lanes.values() if group.seconds is not None]
    if groups:
        return sum(group.jobs * (group.seconds or 0.0) for group in groups) / sum(group.jobs for group in groups)
    known = [one for one in remaining if one is not None]
    return sum(known) / len(known) if known else None


def _start_time(job: Waiting) -> dict[str, str]:
    return _reason("start_time", f"It starts after {timestamp(job.start_after)}.")


def _waiting_for(line: Line, job: Waiting, slots: int, *, ahead: int, taken: int) -> dict[str, str]:
    if slots == 0:
        if not line.capacities:
            return _reason("no_worker", "No worker takes jobs right now.")
        return _reason("no_device", _missing(job.device))
    standing = _standing(line, job.tenant_id)
    if standing.limit is not None and standing.running >= standing.limit:
        detail = f"Your limit of running jobs is reached: {standing.running} run, of at most {standing.limit}."
        return _reason("tenant_limit", detail)
    if ahead:
        return _reason("jobs_ahead", f"{ahead} job{'s go' if ahead > 1 else ' goes'} first.")
    if taken >= slots:
        return _reason("free_slot", "Every slot that can run it is taken.")
    return _reason("claim", "A worker is about to take it.")


def _missing(device: str) -> str:
    name, _, count = device.partition(":")
    if count:
        return f"No worker trains with {count} {'GPUs' if name == 'cuda' else 'processes on its CPU'}."
    return "No worker has a CUDA device." if name == "cuda" else "No worker trains on a CPU."


def _reason(code: str, detail: str) -> dict[str, str]:
    return {"code": code, "detail": detail}
