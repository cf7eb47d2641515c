"""Run the service under random faults and judge what is left: ``python -m tests.chaos.run --seed 7``.

Kills, wipes and zombies come as the seed says, in three lanes beside each other, over every process of the service and
both of its servers. Jobs are submitted all the while, each with an Idempotency-Key and again until it is acknowledged:
at least as many as asked for, and more while there are faults left, so that every blow falls on a service at work.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos import check
from tests.chaos.history import History
from tests.chaos.lanes import Lanes
from tests.chaos.logs import note_abandoned
from tests.chaos.plan import Plan, Scale, make_plan
from tests.chaos.requests import KINDS, request
from tests.chaos.service import Service

_PATIENCE_SECONDS = 300.0


@dataclass
class Client:
    """What a careful client does: every call again until it is answered, every submission with its own key."""

    service: Service
    history: History
    length: float
    kinds: dict[str, str] = field(default_factory=dict)

    def submit(self, number: int, kind: str) -> str:
        """Submit a job, again and again until it is acknowledged; return its id."""
        name = str(number)
        self.history.note("submit", submission=name, kind=kind)
        body = request(kind, length=self.length, submission=name)
        answer = self._until_answered("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": f"submission-{name}"})
        job_id = str(answer["id"])
        self.history.note("acknowledge", submission=name, job=job_id)
        self.kinds[job_id] = kind
        return job_id

    def look(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        return self._until_answered("GET", f"/v1/jobs/{job_id}")

    def finish(self, job_id: str) -> dict[str, Any]:
        """Return what the API says of a job that has ended."""
        job = self.look(job_id)
        checkpoints = self._until_answered("GET", f"/v1/jobs/{job_id}/checkpoints")["data"]
        series = self._until_answered("GET", f"/v1/jobs/{job_id}/metrics?max_points=4")["series"]
        return {
            "job": job_id,
            "kind": self.kinds[job_id],
            "state": job["state"],
            "attempts": job["attempt"],
            "error": (job["error"] or {}).get("code"),
            "sha256": checkpoints[0]["sha256"] if checkpoints else None,
            "total_steps": job["progress"]["total_steps"],
            "counts": {name: one["count"] for name, one in series.items() if not name.startswith("system/")},
        }

    def _until_answered(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        headers = {"Authorization": f"Bearer {self.service.key}", **options.pop("headers", {})}
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                answer = httpx.request(method, self.service.url + path, headers=headers, timeout=45, **options)
                if answer.status_code in (200, 201):
                    return dict(answer.json())
                if answer.status_code not in (409, 429, 500, 502, 503):
                    raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
                if answer.status_code == 500:
                    self.history.note("error", path=path, status=500, body=answer.text[:500])
            time.sleep(0.5)
        raise AssertionError(f"{method} {path} was not answered for {_PATIENCE_SECONDS:.0f} s")


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: the plan's seed and scale, how long jobs are, how many processes."""

    seed: int
    scale: Scale
    length: float = 1.0
    workers: int = 5
    slots: int = 2
    lease_seconds: float = 20.0
    at_once: int = 6
    within_seconds: float = 3600.0
    """After so long no more blows fall: what was not made then is missing in the verdict."""


def run(
    options: Options,
    directory: Path,
    file: Path,
    *,
    plan: Plan | None = None,
    started: Callable[[Service], object] = lambda service: None,
) -> list[dict[str, Any]]:
    """Run it all in ``directory`` and return the history, which is left in ``file``.

    ``plan`` stands in for the one of the options' seed; ``started`` is called once the service is there.
    """
    plan = plan or make_plan(options.seed, options.scale)
    print(f"seed {options.seed}, plan {plan.sha256[:16]}: {plan.counts()}", flush=True)
    lease = options.lease_seconds
    settings = {"MODELWRIGHT_LEASE_SECONDS": str(lease), "MODELWRIGHT_RENEW_SECONDS": str(lease / 4)}
    service = Service(directory, workers=options.workers, slots=options.slots, settings=settings)
    history = History(file)
    history.note("run", seed=options.seed, plan=plan.sha256, **asdict(options.scale), lease_seconds=lease)
    try:
        service.start()
        started(service)
        client = Client(service, history, options.length)
        _references(client)
        lanes = Lanes(service, history, plan.lanes)
        lanes.start()
        try:
            jobs = _keep_busy(client, lanes, options)
        finally:
            lanes.stop()
        for job_id in jobs:
            history.note("finish", **client.finish(job_id))
        note_abandoned(history, service.directory / "logs")
        history.note("end")
        return history.complete(service.database_url)
    finally:
        service.stop()


def _references(client: Client) -> None:
    """Train one job of each kind while nothing goes wrong."""
    for number, kind in enumerate(KINDS):
        job_id = client.submit(-1 - number, kind)
        while not client.look(job_id)["terminal"]:
            time.sleep(0.3)
        seen = client.finish(job_id)
        assert seen["state"] == "succeeded", seen
        client.history.note("finish", **seen)
        found = {name: seen[name] for name in ("kind", "sha256", "total_steps", "counts")}
        client.history.note("reference", **found)
        print(f"undisturbed {kind}: {seen['total_steps']} steps, weights {seen['sha256'][:16]}", flush=True)


def _keep_busy(client: Client, lanes: Lanes, options: Options) -> list[str]:
    """Submit jobs, so many unfinished ones at a time, until there were enough and no fault is left; wait for all.

    There are more slots than jobs, so that one that lost its worker need not wait for another to end.
    """
    least = options.scale.jobs
    jobs: list[str] = []
    unfinished: set[str] = set()
    begun = said = time.monotonic()
    ended_at = begun
    while unfinished or len(jobs) < least or not lanes.done:
        standings = client.service.standings()
        if standings is not None:
            if unfinished - standings.keys():
                ended_at = time.monotonic()
            unfinished &= standings.keys()
            if len(unfinished) < options.at_once and (len(jobs) < least or not lanes.done):
                jobs.append(client.submit(len(jobs), KINDS[len(jobs) % len(KINDS)]))
                unfinished.add(jobs[-1])
        if time.monotonic() - begun > options.within_seconds:
            lanes.stop()
        if time.monotonic() - said > 15:
            said = time.monotonic()
            state = f"{len(jobs)} jobs submitted, {len(unfinished)} under way, {lanes.left} faults left"
            print(f"{said - begun:6.0f} s: {state}", flush=True)
        assert time.monotonic() - ended_at < 2 * _PATIENCE_SECONDS, f"no job ends any more: {standings}"
        time.sleep(0.3)
    return jobs


def main() -> int:
    """Run as the command line says; exit 1 when a promise was broken."""
    full = Scale()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    for name, value in asdict(full).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--length", type=float, default=1.0, help="of each training, relative to the usual one")
    usual = Options(0, full)
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--slots", type=int, default=usual.slots)
    parser.add_argument("--at-once", type=int, default=usual.at_once, help="unfinished jobs at a time")
    parser.add_argument("--lease", type=float, default=usual.lease_seconds, help="seconds")
    parser.add_argument("--within", type=float, default=usual.within_seconds, help="no more faults after these seconds")
    parser.add_argument("--history", type=Path, default=Path("chaos-history.ndjson"))
    said = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # in order: nothing that was started stays behind
    scale = Scale(**{name: getattr(said, name) for name in asdict(full)})
    options = Options(said.seed, scale, said.length, said.workers, said.slots, said.lease, said.at_once, said.within)
    with tempfile.TemporaryDirectory(prefix="modelwright-chaos-", ignore_cleanup_errors=True) as directory:
        return int(check.report(run(options, Path(directory), said.history)) > 0)


if __name__ == "__main__":
    sys.exit(main())
