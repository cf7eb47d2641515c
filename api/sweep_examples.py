"""Examples of sweeps in the OpenAPI document; a test creates every one of them."""

from __future__ import annotations

from typing import Any

from api.examples import REQUESTS

_DIGITS = REQUESTS["short"]["value"]["data"]
_PLAN = REQUESTS["short"]["value"]["training"]
SWEEPS: dict[str, dict[str, Any]] = {
    "tpe": {
        "summary": "The best rate and width for digits in 20 trials, four at a time, poor ones stopped early",
        "value": {
            "name": "digits",
            "base": {
                "model": {
                    "modules": {
                        "Net": {
                            "parameters": ["width"],
                            "init": [{"hidden": "Linear(64, width)"}, {"head": "Linear(width, 10)"}],
                            "forward": ["return self.head(F.relu(self.hidden(x)))"],
                        }
                    },
                    "model": {"type": "Net", "width": 32},
                },
                "data": _DIGITS,
                "training": {**_PLAN, "epochs": 9},
            },
            "space": {
                "/training/optimizer/lr": {"log_uniform": [0.0001, 0.1]},
                "/model/model/width": {"choice": [16, 32, 64, 128]},
            },
            "strategy": "tpe",
            "objective": {"metric": "validation/accuracy", "mode": "max"},
            "asha": {"min_epochs": 1, "reduction_factor": 3},
            "budget": {"trials": 20, "parallel": 4},
            "seed": 0,
        },
    },
    "grid": {
        "summary": "Every point of a grid",
        "value": {
            "base": {
                "model": "Sequential(Linear(64, 32), ReLU(), Linear(32, 10))",
                "data": _DIGITS,
                "training": _PLAN,
            },
            "space": {
                "/training/optimizer/lr": {"log_uniform": [0.0001, 0.1], "points": 4},
                "/training/seed": {"int": [0, 2]},
            },
            "strategy": "grid",
        },
    },
}
