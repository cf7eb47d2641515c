"""Carries out the lanes of a plan: waits for its moment, finds a victim, strikes, and writes down what was struck."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import redis

from tests.chaos.history import History
from tests.chaos.plan import Fault
from tests.chaos.service import Service
from tests.chaos.victims import Victim, attempt_victims, control_victims

_MOST_ASLEEP = 4
_VICTIM_SECONDS = 180.0
"""For so long a blow waits for somebody whom it may strike."""
_REPLACED_SECONDS = 120.0


class Lanes:
    """All lanes of one plan against one service; ``done`` once every blow was struck or given up."""

    def __init__(self, service: Service, history: History, lanes: dict[str, tuple[Fault, ...]]) -> None:
        self._service = service
        self._history = history
        self._struck: set[tuple[str, int]] = set()
        self._asleep = threading.Semaphore(_MOST_ASLEEP)
        self._sleepers: list[threading.Thread] = []
        strikes = {"control": self._control, "attempts": self._attempt, "servers": self._server}
        self.threads = [
            threading.Thread(target=self._run, args=(lanes[name], strikes[name]), name=name, daemon=True)
            for name in lanes
        ]
        self.left = sum(len(lane) for lane in lanes.values())
        self._stopped = threading.Event()

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return not any(thread.is_alive() for thread in [*self.threads, *self._sleepers])

    def start(self) -> None:
        """Begin all lanes."""
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """End them early."""
        self._stopped.set()
        for thread in [*self.threads, *self._sleepers]:
            thread.join(30)

    def _run(self, lane: tuple[Fault, ...], strike: Callable[[Fault], bool]) -> None:
        for fault in lane:
            if self._stopped.wait(fault.after_seconds):
                return
            try:
                self._strike(fault, strike)
            except Exception as error:
                self._history.note("error", lane=threading.current_thread().name, error=repr(error))
                raise
            self.left -= 1

    def _strike(self, fault: Fault, strike: Callable[[Fault], bool]) -> None:
        deadline = time.monotonic() + _VICTIM_SECONDS
        while not strike(fault):
            if self._stopped.wait(0.2) or time.monotonic() > deadline:
                self._history.note("skipped", kind=fault.kind)
                return

    def _control(self, fault: Fault) -> bool:
        victims = control_victims(self._service, fault.kind)
        return self._kill(fault, victims)

    def _attempt(self, fault: Fault) -> bool:
        if fault.kind != "zombie":
            return self._kill(fault, attempt_victims(self._service, fault.kind, self._struck))
        if not self._asleep.acquire(timeout=0.2):
            return False
        victims = attempt_victims(self._service, "zombie", self._struck)
        if not victims:
            self._asleep.release()
            return False
        sleeper = threading.Thread(target=self._sleep, args=(fault, _chosen(victims, fault)), daemon=True)
        self._sleepers.append(sleeper)
        sleeper.start()
        return True

    def _kill(self, fault: Fault, victims: list[Victim]) -> bool:
        if not victims:
            return False
        victim = _chosen(victims, fault)
        pids = [process.pid for process in victim.processes]
        self._struck |= set(victim.jobs)
        jobs = {"jobs": [job_id for job_id, _ in victim.jobs]} if victim.jobs else {}
        self._history.note("fault", kind=fault.kind, pids=pids, **jobs)
        for process in victim.processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return True

    def _sleep(self, fault: Fault, victim: Victim) -> None:
        """Stop a supervisor until another one has its job, and a little longer; then let it go on where it was.

        In half of the cases its trainer goes on meanwhile, and has more to say than the supervisor may write.
        """
        try:
            processes = victim.processes if fault.pick < 0.5 else victim.processes[:1]
            ((job_id, epoch),) = victim.jobs
            self._struck.add((job_id, epoch))
            self._history.note("fault", kind="zombie", pids=[one.pid for one in processes], jobs=[job_id])
            _signal(processes, signal.SIGSTOP)
            superseded = self._superseded(job_id, epoch)
            self._stopped.wait(fault.hold_seconds)
            alive = _signal(processes, signal.SIGCONT)
            self._history.note("continue", job=job_id, epoch=epoch, superseded=superseded and alive)
        finally:
            self._asleep.release()

    def _superseded(self, job_id: str, epoch: int) -> bool:
        """Wait until a newer epoch owns the job; False when that does not come."""
        deadline = time.monotonic() + _REPLACED_SECONDS
        while time.monotonic() < deadline and not self._stopped.wait(0.3):
            standings = self._service.standings()
            if standings is not None and (job_id not in standings or standings[job_id].epoch > epoch):
                return job_id in standings
        return False

    def _server(self, fault: Fault) -> bool:
        self._history.note("fault", kind=fault.kind)
        if fault.kind == "postgres_kill":
            self._service.kill_postgres(fault.hold_seconds)
        elif fault.kind == "redis_kill":
            self._service.kill_redis(fault.hold_seconds)
        else:
            with redis.Redis.from_url(self._service.valkey.url) as connection:
                connection.flushall()
        return True


def _chosen(victims: list[Victim], fault: Fault) -> Victim:
    ordered = sorted(victims, key=lambda victim: victim.processes[0].pid)
    return ordered[min(len(ordered) - 1, int(fault.pick * len(ordered)))]


def _signal(processes: tuple[psutil.Process, ...], number: int) -> bool:
    """Signal all of them; whether the first was there to be signalled."""
    there = []
    for process in processes:
        try:
            process.send_signal(number)
            there.append(True)
        except psutil.NoSuchProcess:
            there.append(False)
    return there[0]
