"""Judges a run by its history alone, without a service: was a job lost, doubled, written by a worker that had lost it?

A history is a list of records (`history.py` says which). The facts among them were written by triggers inside the very
transactions that they tell of, so they are what was committed, in the order of each job's row lock, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Record = Mapping[str, Any]
FACTS = ("inserted", "claim", "state", "write", "drop", "checkpoint")
TERMINAL = ("succeeded", "failed", "cancelled")
LEASED = ("starting", "running", "pausing", "cancelling")
LOSS = "train/loss"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise: its ``kind``, the job or submission that it is about, and what was seen."""

    kind: str
    about: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.about}: {self.detail}"


def check(history: Iterable[Record]) -> list[Finding]:
    """Return every broken promise of a history; none for a sound one."""
    records = list(history)
    jobs = _replay(records)
    findings = [finding for job in jobs.values() for finding in job.findings]
    findings += _check_whole(records)
    findings += _check_submissions(records, jobs)
    findings += _check_results(records, jobs)
    return findings


@dataclass
class _Job:
    """What the facts say of one job, replayed."""

    id: str
    findings: list[Finding] = field(default_factory=list)
    submission: str | None = None
    state: str = "queued"
    epoch: int = 0
    attempt: int = 0
    owner: str | None = None
    ends: int = 0
    segments: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)

    def feed(self, fact: Record) -> None:
        """Take one more fact."""
        getattr(self, f"_{fact['event']}")(fact)

    def _inserted(self, fact: Record) -> None:
        self.submission = fact["submission"]

    def _claim(self, fact: Record) -> None:
        if self.state != "queued":
            self._find("doubled", f"claimed as epoch {fact['epoch']} while it was {self.state}")
        if fact["epoch"] <= self.epoch:
            self._find("epoch", f"claimed as epoch {fact['epoch']} after epoch {self.epoch}")
        self.state, self.epoch, self.attempt = "starting", fact["epoch"], fact["attempt"]
        self.owner = _process(fact["owner"])

    def _state(self, fact: Record) -> None:
        if self.ends:
            self._find("doubled", f"became {fact['state']} after it had ended as {self.state}")
        self.ends += fact["state"] in TERMINAL
        self.state = fact["state"]
        if self.state not in LEASED:
            self.owner = None

    def _write(self, fact: Record) -> None:
        self._fenced(fact)
        for name, runs in fact["series"].items():
            kept = self.segments.setdefault(name, [])
            for first, last, count in runs:
                if any(first <= end and begin <= last for begin, end, _ in kept):
                    self._find("metric_double", f"{name} has steps {first} to {last} twice")
                kept.append((first, last, count))

    def _drop(self, fact: Record) -> None:
        self._fenced(fact)
        for name, runs in fact["series"].items():
            gone = {tuple(run) for run in runs}
            self.segments[name] = [kept for kept in self.segments.get(name, []) if kept not in gone]

    def _checkpoint(self, fact: Record) -> None:
        self._fenced(fact)
        if fact["attempt"] != self.attempt:
            detail = f"attempt {fact['attempt']} stored step {fact['step']} during attempt {self.attempt}"
            self._find("stale_write", detail)

    def _fenced(self, fact: Record) -> None:
        """A write counts only from the process that owns the job, while it does."""
        writer = _process(fact["writer"])
        if self.state not in LEASED:
            self._find("stale_write", f"a {fact['event']} by process {writer} while it was {self.state}")
        elif writer != self.owner:
            detail = f"a {fact['event']} by process {writer} in epoch {self.epoch}, which process {self.owner} owns"
            self._find("stale_write", detail)

    def _find(self, kind: str, detail: str) -> None:
        self.findings.append(Finding(kind, self.id, detail))


def _replay(records: list[Record]) -> dict[str, _Job]:
    jobs: dict[str, _Job] = {}
    facts = [record for record in records if record["event"] in FACTS]
    for fact in sorted(facts, key=lambda one: one["sequence"]):
        jobs.setdefault(fact["job"], _Job(fact["job"])).feed(fact)
    return jobs


def _check_whole(records: list[Record]) -> list[Finding]:
    """A history that was cut short proves nothing."""
    events = [record["event"] for record in records]
    missing = [event for event in ("run", "reference", "end") if event not in events]
    findings = [Finding("incomplete", "the history", f"it has no {event!r} record") for event in missing]
    planned = next((record for record in records if record["event"] == "run"), {})
    for what, made in counts(records).items():
        if made < planned.get(what, 0):
            findings.append(Finding("incomplete", "the run", f"{made} of {planned[what]} {what} were made"))
    return findings


def counts(records: Iterable[Record]) -> dict[str, int]:
    """Return what was really made of that which a run plans. The undisturbed jobs, numbered below 0, are none of it."""
    made = {"jobs": 0, "kills": 0, "redis_wipes": 0, "postgres_kills": 0, "zombies": 0}
    for record in records:
        if record["event"] == "fault":
            server = {"redis": "redis_wipes", "postgres": "postgres_kills"}.get(record["kind"].partition("_")[0])
            made[server or "kills"] += record["kind"] != "zombie"
        made["jobs"] += record["event"] == "acknowledge" and not record["submission"].startswith("-")
        made["zombies"] += record["event"] == "continue" and record["superseded"]
    return made


def _check_submissions(records: list[Record], jobs: Mapping[str, _Job]) -> list[Finding]:
    """Each submission is one job, and one that was acknowledged is there and has ended."""
    findings = []
    made: dict[str, list[str]] = {}
    for job in jobs.values():
        if job.submission is None:
            findings.append(Finding("unknown", job.id, "no submission made it"))
        else:
            made.setdefault(job.submission, []).append(job.id)
    for submission, ids in made.items():
        if len(ids) > 1:
            findings.append(Finding("doubled", f"submission {submission}", f"made {len(ids)} jobs: {', '.join(ids)}"))
    for record in (record for record in records if record["event"] == "acknowledge"):
        found = jobs.get(record["job"])
        if found is None or found.submission != record["submission"]:
            findings.append(Finding("lost", record["job"], "it was acknowledged and is not there"))
        elif found.ends == 0:
            findings.append(Finding("lost", record["job"], f"it was acknowledged and is still {found.state}"))
    return findings


def _check_results(records: list[Record], jobs: Mapping[str, _Job]) -> list[Finding]:
    """Each job that ended has what an undisturbed one of its kind has: state, weights, every point of its series."""
    calm = {record["kind"]: record for record in records if record["event"] == "reference"}
    finished = {record["job"]: record for record in records if record["event"] == "finish"}
    findings = []
    for job in jobs.values():
        finish = finished.get(job.id)
        if finish is None:
            findings.append(Finding("incomplete", job.id, "nobody looked at how it ended"))
        elif finish["state"] != "succeeded" or job.state != "succeeded":
            detail = f"it is {finish['state']} ({finish.get('error')}), by its facts {job.state}"
            findings.append(Finding("not_succeeded", job.id, detail))
        elif finish["kind"] in calm:
            findings += _compare(job, finish, calm[finish["kind"]])
    return findings


def _compare(job: _Job, finish: Record, calm: Record) -> list[Finding]:
    findings = []
    if finish["sha256"] != calm["sha256"]:
        findings.append(Finding("different_bits", job.id, f"{finish['sha256']} and not {calm['sha256']}"))
    seen = sorted(job.segments.get(LOSS, []))
    expected = 1
    for first, last, count in seen:
        if first != expected or count != last - first + 1:
            findings.append(Finding("metric_gap", job.id, f"{LOSS} goes from step {expected - 1} to {first}"))
        expected = last + 1
    if expected != calm["total_steps"] + 1:
        detail = f"{LOSS} ends at step {expected - 1} of {calm['total_steps']}"
        findings.append(Finding("metric_gap", job.id, detail))
    stored = {name: sum(count for _, _, count in runs) for name, runs in job.segments.items()}
    for name, points in calm["counts"].items():
        for said, where in ((stored.get(name, 0), "stored"), (finish["counts"].get(name, 0), "shown")):
            if said != points:
                kind = "metric_gap" if said < points else "metric_double"
                findings.append(Finding(kind, job.id, f"{name}: {said} points are {where} and not {points}"))
    return findings


def _process(name: str | None) -> str | None:
    """Return the process id at the end of an owner (``host/12``) or of an application name (``modelwright/12``)."""
    return name.rsplit("/", 1)[-1] if name else None
