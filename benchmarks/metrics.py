"""P4: metric points into PostgreSQL, and a series of a million points down-sampled to a thousand.

    python -m benchmarks.metrics [--points 1000000] [--rounds 20]

*Written* is what a supervisor does with a trainer's reports: each is one transaction that passes the fence and commits.
A fast job reports a thousand steps of every series at a time, a slow one a single step. *Read* is what
``GET /v1/jobs/{id}/metrics?max_points=1000`` asks of the service for a series that came in such reports; small ones are
put together now and then, which is timed too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.chunks import database, new_claim
from services.db.engine import Database
from services.jobs.claims import Claim, lock_claimed
from services.metrics.service import compact, get_metrics, write_points

SERIES = ("train/loss", "learning_rate", "train/gradient_norm", "train/loss/fit", "train/loss/small")
REPORTS = {"fast job": 1000, "job of 100 steps/s": 50, "slow job": 1}
"""How many steps lie between two reports."""
MAX_POINTS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} at the begin\n")
    with database() as opened:
        print(f"{'written':24}{'points a report':>17}{'reports/s':>12}{'points/s':>12}{'of our own CPU':>16}")
        for name, steps in REPORTS.items():
            reports, points, share = ingest(opened, new_claim(opened), steps, seconds=5)
            print(f"{name:24}{steps * len(SERIES):>17}{reports:>12.0f}{points:>12,.0f}{share:>15.0%}")
        print("goal: 200 000 points/s; CPU is the part of the time that this process itself was computing")
        claim = new_claim(opened)
        began = time.perf_counter()
        write_series(opened, claim, options.points)
        spent = time.perf_counter() - began
        print(f"\n{options.points:,} points in {spent:.1f} s; read as {MAX_POINTS} points, goal 50 ms")
        print(f"{'read':32}{'median ms':>12}{'worst ms':>12}")
        show("reports of 1000 steps", *read(opened, claim, options.rounds))
        claim = new_claim(opened)
        write_series(opened, claim, options.points // 10, steps=25)
        show("a tenth, reports of 25 steps", *read(opened, claim, options.rounds))
        began = time.perf_counter()
        with opened.session() as session:
            compact(session, job_id=lock_claimed(session, claim).id)
        show(f"put together in {1000 * (time.perf_counter() - began):.0f} ms", *read(opened, claim, options.rounds))
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


def ingest(database: Database, claim: Claim, steps: int, *, seconds: float) -> tuple[float, float, float]:
    """Write reports for a while; return how many, and how many points, a second, and our own share of a CPU."""
    values = np.random.default_rng(0).normal(size=steps).tolist()
    began, computing, reports = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - began) < seconds:
        numbers = list(range(reports * steps, (reports + 1) * steps))
        report(database, claim, {name: {"steps": numbers, "values": values} for name in SERIES})
        reports += 1
    share = (time.process_time() - computing) / spent
    return reports / spent, reports * steps * len(SERIES) / spent, share


def report(database: Database, claim: Claim, series: dict[str, Any]) -> None:
    with database.session() as session:
        job = lock_claimed(session, claim)
        write_points(session, job_id=job.id, points=series)


def write_series(database: Database, claim: Claim, points: int, steps: int = 1000) -> None:
    values = np.random.default_rng(1).normal(size=points)
    for start in range(0, points, steps):
        stop = min(points, start + steps)
        series = {"steps": list(range(start, stop)), "values": values[start:stop].tolist()}
        report(database, claim, {"train/loss": series})


def read(database: Database, claim: Claim, rounds: int) -> tuple[float, float]:
    """Return the median and the worst time of a read, in ms."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        with database.read_session() as session:
            answer = get_metrics(
                session, tenant_id=claim.tenant_id, job_id=claim.job_id, names=["train/loss"], max_points=MAX_POINTS
            )
        times.append(1000 * (time.perf_counter() - began))
        shown = len(answer["series"]["train/loss"]["steps"])
        assert MAX_POINTS // 10 < shown <= MAX_POINTS, shown
    return statistics.median(times), max(times)


def show(name: str, median: float, worst: float) -> None:
    print(f"{name:32}{median:>12.1f}{worst:>12.1f}")


if __name__ == "__main__":
    main()
