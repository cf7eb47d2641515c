"""What a history says in numbers: the faults that were really made, and how long deaths went unnoticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.chaos.checker import counts

Record = Mapping[str, Any]
SLOW = {"noticed": 30.0, "resumed": 45.0}
"""Seconds that `docs/reliability.md` promises with leases of 20 s: from a death to the queue, and (p99) to training."""


def summary(history: Iterable[Record]) -> list[str]:
    """Return the lines that a reader wants to see of a run."""
    records = list(history)
    made = Counter(record["kind"] for record in records if record["event"] == "fault")
    skipped = Counter(record["kind"] for record in records if record["event"] == "skipped")
    total = counts(records)
    refused = sum(record["event"] == "abandoned" for record in records)
    lines = ["faults made     " + ", ".join(f"{kind} {count}" for kind, count in sorted(made.items()))]
    if skipped:
        lines.append("not made        " + ", ".join(f"{kind} {count}" for kind, count in sorted(skipped.items())))
    servers = f"Redis was wiped {total['redis_wipes']} times, PostgreSQL killed {total['postgres_kills']} times"
    lines.append(f"kills           {total['kills']} of our processes; {servers}")
    woke = f"{total['zombies']} woke after another had their job"
    lines.append(f"zombies         {woke}; {refused} attempts say that they were refused")
    lines += [_line(name, seconds) for name, seconds in latencies(records).items()]
    lines += [_line(f"{name} alone", seconds) for name, seconds in latencies(records, alone=True).items()]
    return lines


def latencies(records: Iterable[Record], *, alone: bool = False) -> dict[str, list[float]]:
    """Return, in seconds and in order, how long after each blow its job was queued again, and when it trained again.

    A job that the next blow met before it trained again counts from the first blow. ``alone`` leaves out the blows
    during whose time PostgreSQL, the scheduler or another process of the same job was struck, too.
    """
    facts: dict[str, list[Record]] = {}
    faults = []
    for record in records:
        if record["event"] in ("state", "claim"):
            facts.setdefault(record["job"], []).append(record)
        elif record["event"] == "fault":
            faults.append(record)
    found: dict[str, list[float]] = {"noticed": [], "resumed": []}
    for fault in faults:
        for job in fault.get("jobs", ()):
            for name, at in _reactions(facts.get(job, []), fault["at"]):
                if not alone or not _disturbed(faults, fault, job, until=at):
                    found[name].append(at - fault["at"])
    return {name: sorted(values) for name, values in found.items()}


def _reactions(facts: list[Record], blow: float) -> Iterator[tuple[str, float]]:
    """Yield when the job was queued and when it trained again; nothing if it had ended before the blow was felt."""
    later = sorted((one for one in facts if one["at"] > blow), key=lambda one: one["sequence"])
    queued = next((one for one in later if one.get("state") in ("queued", "failed")), None)
    if queued is not None:
        yield "noticed", queued["at"]
        trains = next((one for one in later if one["at"] > queued["at"] and one.get("state") == "running"), None)
        if trains is not None:
            yield "resumed", trains["at"]


def _disturbed(faults: list[Record], blow: Record, job: str, *, until: float) -> bool:
    others = (one for one in faults if one is not blow and blow["at"] - _RESTART_SECONDS < one["at"] < until)
    return any(one["kind"] in _NEEDED or job in one.get("jobs", ()) for one in others)


_NEEDED = ("postgres_kill", "scheduler", "beat")
_RESTART_SECONDS = 10.0
"""One that was struck so shortly before may not be back yet."""


def _line(name: str, seconds: list[float]) -> str:
    if not seconds:
        return f"{name:<16}never"
    shown = ", ".join(f"{label} {percentile(seconds, share):.1f}" for label, share in _SHARES.items())
    limit = SLOW[name.partition(" ")[0]]
    late = sum(value > limit for value in seconds)
    return f"{name:<16}{shown} s after the blow ({len(seconds)} times; {late} later than {limit:.0f} s)"


_SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def percentile(ordered: list[float], share: float) -> float:
    """Return the value that ``share`` of them do not exceed (nearest rank)."""
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]
