"""Jobs in trainer processes of their own, as a supervisor starts them: behind the same walls."""

import time
from pathlib import Path

from services.forkserver import ForkServer, Limits
from tests.worker.trainer.harness import Line

PRELOAD = ["worker.trainer.main", "worker.trainer.warm:warm"]


def in_processes(job, count):
    """Return the job with so many processes to share its batches."""
    return {**job, "resources": {"device": "cpu", "gpus": None, "processes": count}}


class Forked(Line):
    """A job in training; remembers what it says."""

    def __init__(self, server: ForkServer, job, folder: Path, target="worker.trainer.main:run"):
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "trainer.log"
        self.job = job
        siblings = job["resources"]["processes"] > 1
        memory = 0 if job["device"] == "cuda" else 4 << 30  # CUDA reserves far more than it uses
        limits = Limits(memory_bytes=memory, open_files=1024, siblings=siblings)
        self.child = server.spawn(target, job, limits=limits, directory=folder, log=self.log)

    def until(self, condition, seconds=60):
        """Listen until ``condition()`` holds or the trainer has ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            for event in self.child.receive(0.05):
                self.emit(event)
            if self.child.ended or time.monotonic() > deadline:
                break
        return self

    def finish(self, seconds=60):
        """Listen to the end."""
        self.until(lambda: False, seconds)
        assert self.child.ended, f"{self.events[-1:]}\n{self.log.read_text()}"
        self.exit = self.child.wait(10)
        self.child.close()
        return self


def train_forked(server, job, folder):
    """Run a job to its end and return what it said."""
    return Forked(server, job, folder).finish()
