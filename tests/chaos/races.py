"""Races for one job: claimers, cancellers and a sweeper start at one moment, on real rows, and one of them is last."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from services.db.engine import Database
from services.errors import AlreadyTerminal, Fenced
from services.jobs import outcomes, repository, steering
from services.jobs.claims import Claim, claim_next, read_control
from tests.factories import add_job
from worker.recovery import sweep

MOMENTS = ("queued", "claimed", "running", "finishing")
"""When a canceller strikes: with the claim, right after it, while the job runs, together with its end."""
TERMINAL = ("succeeded", "failed", "cancelled")


class Race:
    """One job, raced for once; ``answers`` is what the cancellers heard."""

    def __init__(self, database: Database, tenant_id: str, moment: str, chance: random.Random) -> None:
        self.job_id = add_job(database, tenant_id)
        self.answers: list[str] = []
        self.errors: list[BaseException] = []
        self._database = database
        self._tenant_id = tenant_id
        self._moment = moment
        self._delays = [chance.uniform(0, 0.002) for _ in range(3)]
        self._through: list[bool] = []
        self._reached = {name: threading.Event() for name in MOMENTS}

    def run(self) -> None:
        """Let everybody run, and wait for the last."""
        runners: list[Callable[[], None]] = [self._worker, self._worker, self._sweep]
        runners += [self._canceller(delay) for delay in self._delays[:2]]
        threads = [threading.Thread(target=self._guarded, args=(runner,)) for runner in runners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def ends(self) -> list[str]:
        """Return the terminal states among the job's events, and its row's state behind them."""
        with self._database.read_session() as session:
            events = repository.events(session, job_id=self.job_id)
            row = repository.find(session, tenant_id=self._tenant_id, job_id=self.job_id)
        assert row is not None
        states = [event.data["state"] for event in events if event.type == "job.state_changed"]
        assert states[-1] == row.state
        assert row.lease_expires_at is None
        return [state for state in states if state in TERMINAL]

    def _guarded(self, runner: Callable[[], None]) -> None:
        try:
            runner()
        except Exception as error:  # noqa: BLE001 - whatever it is, `race` judges it
            self.errors.append(error)

    def _worker(self) -> None:
        """Work; whoever waits for a moment that will not come goes on when the winner, or everybody, is through."""
        won = False
        try:
            won = self._work()
        finally:
            self._through.append(won)
            if won or len(self._through) == 2:
                for event in self._reached.values():
                    event.set()

    def _work(self) -> bool:
        """Claim, start, look whether to stop, end, as a worker without a trainer does; whether the claim was won."""
        self._reached["queued"].set()
        with self._database.session() as session:
            claim = claim_next(session, owner=f"racer/{threading.get_ident()}", devices=["cpu"], lease_seconds=60)
        if claim is None or claim.job_id != self.job_id:
            return False
        self._reached["claimed"].set()
        with self._database.session() as session:
            outcomes.mark_running(session, claim, environment={}, resume=None)
        self._reached["running"].set()
        self._end(claim)
        return True

    def _end(self, claim: Claim) -> None:
        with self._database.read_session() as session:
            control = read_control(session, claim)
        time.sleep(self._delays[2])
        self._reached["finishing"].set()
        with self._database.session() as session:
            if control.cancel_requested:
                outcomes.finish_cancelled(session, claim)
            else:
                outcomes.finish_succeeded(session, claim, reason=None)

    def _canceller(self, delay: float) -> Callable[[], None]:
        def cancel() -> None:
            self._reached[self._moment].wait(30)
            time.sleep(delay)
            try:
                with self._database.session() as session:
                    job = steering.request_cancel(session, tenant_id=self._tenant_id, job_id=self.job_id)
                self.answers.append(job["state"])
            except AlreadyTerminal:
                self.answers.append("already terminal")

        return cancel

    def _sweep(self) -> None:
        for _ in range(3):
            sweep(self._database)


def race(database: Database, tenant_id: str, *, times: int, seed: int = 7) -> Counter[str]:
    """Race so often, check each time that the job ended once and the answers fit; return how often it ended how."""
    chance = random.Random(seed)
    found: Counter[str] = Counter()
    for number in range(times):
        one = Race(database, tenant_id, MOMENTS[number % len(MOMENTS)], chance)
        one.run()
        assert all(isinstance(error, Fenced) for error in one.errors), (one.job_id, one.errors)
        ends = one.ends()
        assert len(ends) == 1, (one.job_id, ends)
        promised = {answer for answer in one.answers if answer in ("cancelled",)}
        assert len(one.answers) == 2, (one.job_id, one.answers)
        assert not promised or ends == ["cancelled"], (one.job_id, one.answers, ends)
        found[f"{ends[0]} ({', '.join(sorted(set(one.answers)))})"] += 1
    return found
