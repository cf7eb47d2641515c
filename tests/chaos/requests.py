"""The jobs of a run: three models whose exact resume needs more than weights, each some seconds of training long."""

from __future__ import annotations

from typing import Any

_DATA = {"dataset": "digits", "batch_size": 64, "split": {"train": 0.8, "validation": 0.1, "test": 0.1, "seed": 0}}
_READER = {
    "modules": {
        "Reader": {
            "init": [{"lstm": "LSTM(8, 24, batch_first=True)"}, {"drop": "Dropout(0.2)"}, {"head": "Linear(24, 10)"}],
            "forward": ["outputs, _ = self.lstm(x.view(-1, 8, 8))", "return self.head(self.drop(outputs[:, -1]))"],
        }
    },
    "model": "Reader()",
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["B", 64]}],
}
_KINDS: dict[str, dict[str, Any]] = {
    "dropout": {
        "model": "Sequential(Linear(64, 128), ReLU(), Dropout(0.2), Linear(128, 10))",
        "optimizer": {"type": "Adam", "lr": 0.001},
        "epochs": 360,
    },
    "batch norm": {
        "model": "Sequential(Unflatten(1, [1, 8, 8]), Conv2d(1, 8, 3), BatchNorm2d(8), ReLU(), "
        "Flatten(), Linear(288, 10))",
        "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9},
        "scheduler": {"type": "CosineAnnealingLR", "interval": "step"},
        "epochs": 200,
    },
    "lstm": {"model": _READER, "optimizer": {"type": "AdamW", "lr": 0.002}, "epochs": 120},
}
KINDS = tuple(_KINDS)


def request(kind: str, *, length: float = 1.0, submission: str | None = None) -> dict[str, Any]:
    """Return the request of a job; ``length`` shortens its training."""
    parts = _KINDS[kind]
    training = {
        "epochs": max(1, round(parts["epochs"] * length)),
        "optimizer": parts["optimizer"],
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": ["accuracy"],
        "seed": 7,
    }
    if "scheduler" in parts:
        training["scheduler"] = parts["scheduler"]
    labels = {"submission": submission} if submission is not None else {}
    checkpoints = {"every": {"seconds": 1}, "keep": 2}
    return {"model": parts["model"], "data": _DATA, "training": training, "checkpoints": checkpoints, "labels": labels}
