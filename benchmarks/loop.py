"""P1: steps per second of a job inside the trainer, against hand-written loops on the same model, data and seed.

    python -m benchmarks.loop [--rounds 15] [--epochs 30] [--model mlp|cnn]

The job runs as in production: metrics every epoch, a validation part, checkpoints written. The *tuned* loop holds the
data as tensors, gathers once an epoch, uses a fused optimizer and never waits for a loss; the *plain* one is what
tutorials show: a DataLoader and ``loss.item()`` at every step. Lightning joins when it is installed. The contestants
take turns, so that a busy machine slows all of them; the ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from services.modules.data.loading import load_data
from worker.trainer.main import run
from worker.trainer.standalone import job_from_request

MODELS = {
    "mlp": ("pixels", "Sequential(Linear(64, 128), ReLU(), Linear(128, 10))"),
    "cnn": (
        "image",
        "Sequential(Conv2d(1, 16, kernel_size=3, padding=1), ReLU(), Conv2d(16, 32, kernel_size=3, padding=1), ReLU(), "
        "Flatten(), Linear(2048, 10))",
    ),
}
BATCH_SIZE = 64


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "mlp":
        return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    layers = (nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10))


class Clock:
    """A trainer's line that notes when training began and ended."""

    isolation: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.last: Mapping[str, Any] = {}

    def emit(self, event: Mapping[str, Any]) -> None:
        """Note the time."""
        if event == {"event": "phase", "phase": "training"}:
            self.began = time.perf_counter()
        self.last, self.ended = event, time.perf_counter()

    def poll(self) -> list[dict[str, Any]]:
        """Return no commands."""
        return []


def job(request: dict[str, Any], folder: Path) -> float:
    clock = Clock()
    run(job_from_request(request, folder), clock)
    assert clock.last["event"] == "finished", clock.last
    return float(clock.last["step"] / (clock.ended - clock.began))


def tuned(name: str, x: torch.Tensor, y: torch.Tensor, epochs: int) -> float:
    model, criterion = build(name), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    began, steps = time.perf_counter(), 0
    for _ in range(epochs):
        order = torch.randperm(len(y))
        inputs, targets = x[order], y[order]
        for start in range(0, len(y), BATCH_SIZE):
            loss = criterion(model(inputs[start : start + BATCH_SIZE]), targets[start : start + BATCH_SIZE])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            steps += 1
    return steps / (time.perf_counter() - began)


def plain(name: str, x: torch.Tensor, y: torch.Tensor, epochs: int) -> float:
    model, criterion = build(name), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH_SIZE, shuffle=True)
    began, losses = time.perf_counter(), []
    for _ in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return len(losses) / (time.perf_counter() - began)


def lightning(name: str, x: torch.Tensor, y: torch.Tensor, epochs: int) -> float:
    import lightning as light

    class Module(light.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = build(name)

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            loss = nn.functional.cross_entropy(self.model(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "enable_checkpointing": False,
    }
    trainer = light.Trainer(max_epochs=epochs, accelerator="cpu", devices=1, **quiet)
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH_SIZE, shuffle=True)
    began = time.perf_counter()
    trainer.fit(Module(), loader)
    return trainer.global_step / (time.perf_counter() - began)


def contestants(name: str, epochs: int, folder: Path) -> dict[str, Callable[[], float]]:
    column, model = MODELS[name]
    request = {
        "model": model,
        "data": {"dataset": "digits", "inputs": [column], "batch_size": BATCH_SIZE},
        "training": {"epochs": epochs, "optimizer": {"type": "Adam"}, "loss": {"type": "CrossEntropyLoss"}, "seed": 0},
    }
    train = load_data(job_from_request(request, folder)["data"], torch.device("cpu")).parts["train"]
    x, y = train.columns[column], train.columns["label"]
    found: dict[str, Callable[[], float]] = {
        "job in the trainer": lambda: job(request, folder),
        "tuned loop": lambda: tuned(name, x, y, epochs),
        "plain loop": lambda: plain(name, x, y, max(1, epochs // 2)),
    }
    try:
        import lightning as _  # noqa: F401
    except ImportError:
        return found
    return {**found, "Lightning": lambda: lightning(name, x, y, max(1, epochs // 4))}


def measure(found: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name in sorted(found, key=lambda _: turn % 2, reverse=turn % 2 == 1):
            torch.use_deterministic_algorithms(False)  # the job asks for them by itself
            rate = found[name]()
            if turn:  # the first round warms up
                rates[name].append(rate)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--model", choices=MODELS, default="mlp")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(contestants(options.model, options.epochs, Path(folder)), options.rounds)
    ours = rates["job in the trainer"]
    print(f"{options.model} on digits, batch {BATCH_SIZE}, Adam, 1 thread, torch {torch.__version__}")
    print(f"{'':24}{'steps/s':>10}{'job ÷ this':>12}")
    for name, values in rates.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, values, strict=True))
        print(f"{name:24}{statistics.median(values):10.0f}{ratio:12.2f}")


if __name__ == "__main__":
    main()
