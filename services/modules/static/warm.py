"""Runs once in the fork server for static graphs: what torch loads and sets up at a first capture is then shared."""

from __future__ import annotations

import torch

from services.definition import check
from services.modules.graph.subject import build_subject
from services.modules.static.capture import capture

_MODEL = {
    "modules": {
        "Warm": {
            "init": [{"linear": "Linear(2, 2)"}],
            "forward": [
                "x = self.linear(x)",
                {"while": "x.norm() > 1", "at_most": 10, "do": ["x = x / 2"]},
                {"if": "x.norm() < 0.8", "then": ["x = x * 2"]},
                "return x.sum()",
            ],
        }
    },
    "model": "Warm()",
}


def warm() -> None:
    """Capture a tiny model by every means, on one thread."""
    torch.set_num_threads(1)
    definition = check(_MODEL)
    subject = build_subject(
        definition, {"x": torch.ones(2, 2)}, weights=None, training=True, seed=0, dtype=torch.float32,
        max_parameters=None,
    )  # fmt: skip
    capture(definition, subject)
    torch._dynamo.reset()
