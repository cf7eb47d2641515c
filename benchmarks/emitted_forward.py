"""The emitted class against the hand-written one: time of forward and backward, in turns; the ratio is to be ≤ 1.02."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from services.definition import check
from services.modules import build
from tests.conformance import article, generative, recursive, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES, Case

CHOSEN = (
    "article MLP",
    "article FancyMLP",
    "LeNet",
    "ResNet18",
    "GPTModel",
    "OwnRNN",
    "Seq2SeqWithAttention",
    "VAEModule",
)
ROUNDS = 40
ROUND_SECONDS = 0.01
"""Of the processor, for one model in one round, so that a clock's tick and a cold cache weigh little."""


def seconds(model: nn.Module, inputs: tuple[object, ...], calls: int) -> float:
    begin = time.process_time()
    for _ in range(calls):
        model(*inputs)
    return (time.process_time() - begin) / calls


def compare(case: Case) -> tuple[float, float]:
    """Return the time of our forward, and the median over rounds of its ratio to the hand-written one's.

    Both hold the same weights, and take turns in being first.
    """
    ours, theirs = build(check(case.document)), case.original()
    ours.load_state_dict(theirs.state_dict())
    inputs = case.inputs(8)
    seconds(ours, inputs, 5)
    calls = max(int(ROUND_SECONDS / seconds(theirs, inputs, 5)), 1)
    rows = []
    for turn in range(ROUNDS):
        order = (ours, theirs) if turn % 2 else (theirs, ours)
        taken = [seconds(model, inputs, calls) for model in order]
        rows.append(taken if turn % 2 else taken[::-1])
    return min(mine for mine, _ in rows), statistics.median(mine / other for mine, other in rows)


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'model':28}{'emitted µs':>12}{'emitted / hand-written':>24}")
    for case in CASES:
        if case.name in CHOSEN:
            best, ratio = compare(case)
            print(f"{case.name:28}{best * 1e6:12.0f}{ratio:24.3f}")


if __name__ == "__main__":
    main()
