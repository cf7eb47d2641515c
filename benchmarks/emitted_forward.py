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

CHOSEN = ("article MLP", "LeNet", "ResNet18", "GPTModel", "OwnRNN", "Seq2SeqWithAttention", "VAEModule", "Experts")
ROUNDS, CALLS = 30, 5


def seconds(model: nn.Module, inputs: tuple[object, ...]) -> float:
    begin = time.process_time()
    for _ in range(CALLS):
        model(*inputs)
    return (time.process_time() - begin) / CALLS


def compare(case: Case) -> tuple[float, float]:
    torch.manual_seed(0)
    models = [build(check(case.document)), case.original()]
    inputs = case.inputs(8)
    for model in models:
        seconds(model, inputs)
    rounds = [[seconds(model, inputs) for model in models] for _ in range(ROUNDS)]
    return min(ours for ours, _ in rounds), statistics.median(ours / theirs for ours, theirs in rounds)


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'model':28}{'emitted µs':>12}{'emitted / hand-written':>24}")
    for case in CASES:
        if case.name in CHOSEN:
            best, ratio = compare(case)
            print(f"{case.name:28}{best * 1e6:12.0f}{ratio:24.3f}")


if __name__ == "__main__":
    main()
