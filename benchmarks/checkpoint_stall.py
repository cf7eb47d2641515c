"""P7: how long a checkpoint stalls training, against the time to write it synchronously.

    python -m benchmarks.checkpoint_stall [--rounds 5] [--width 2048] [--steps 12]

A network of three square layers trains with Adam; the same steps are timed without a checkpoint, with one written as a
job does (copied at once, written, hashed and flushed to the disk while training goes on), and with one for which
training waits. *Stalled* is the copy, the time in which no step is made; *slowed* is all that the run lost to it, which
on a machine with few cores also holds what hashing takes from the steps. Medians over rounds in turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from worker.trainer.checkpoint import CheckpointWriter, write_checkpoint

BATCH_SIZE = 64


class Run:
    """A network in training, whose state is saved in one of three ways."""

    def __init__(self, width: int, folder: Path) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(*(nn.Linear(width, width) for _ in range(3)))
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.inputs = torch.randn(BATCH_SIZE, width)
        self.folder = folder
        self.writer = CheckpointWriter(folder, {})
        self.stalled = 0.0

    def steps(self, number: int) -> None:
        """Train."""
        for _ in range(number):
            self.model(self.inputs).square().mean().backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def not_at_all(self) -> None:
        """Save nothing."""
        self.stalled = 0.0

    def in_the_background(self) -> None:
        """Save as a job does."""
        began = time.perf_counter()
        state = {"optimizer": self.optimizer.state_dict()}
        self.writer.write(self.writer.snapshot(1, self.model.state_dict(), state, {}), lambda folder: None)
        self.stalled = time.perf_counter() - began

    def synchronously(self) -> None:
        """Save, and wait for it."""
        began = time.perf_counter()
        state = {"optimizer": self.optimizer.state_dict()}
        write_checkpoint(self.folder, self.writer.snapshot(1, self.model.state_dict(), state, {}))
        self.stalled = time.perf_counter() - began


def measure(run: Run, save: Callable[[], None], steps: int) -> tuple[float, float]:
    """Return (seconds stalled, seconds of all the steps)."""
    began = time.perf_counter()
    run.steps(steps // 3)
    save()
    run.steps(steps - steps // 3)
    seconds = time.perf_counter() - began
    run.writer.wait()
    return run.stalled, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options.width, Path(folder))
        ways = {"none": run.not_at_all, "as a job does": run.in_the_background, "synchronously": run.synchronously}
        for way in ways.values():  # the first of each warms up
            measure(run, way, options.steps)
        rounds = [{name: measure(run, way, options.steps) for name, way in ways.items()} for _ in range(options.rounds)]
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    stalled = {name: statistics.median(one[name][0] for one in rounds) for name in ways}
    slowed = {name: statistics.median(one[name][1] - one["none"][1] for one in rounds) for name in ways}
    sync = stalled["synchronously"]
    print(f"checkpoint of {size / 1e6:.0f} MB, Adam, 1 thread, torch {torch.__version__}")
    print(f"{'':20}{'stalled':>12}{'slowed':>12}{'÷ synchronous write':>22}")
    for name in ("synchronously", "as a job does"):
        print(f"{name:20}{stalled[name] * 1e3:9.0f} ms{slowed[name] * 1e3:9.0f} ms{stalled[name] / sync:22.2f}")


if __name__ == "__main__":
    main()
