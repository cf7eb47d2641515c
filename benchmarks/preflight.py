"""P10: preflight of a cold definition in a warm child, against 250 ms; and the same question again, against 5 ms.

Then what is refused, against 50 ms of the processor: others may load the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from services.config import Settings
from services.definition import check
from services.errors import InvalidRequest
from services.preflight import TARGET, Preflight
from tests.conformance.bombs import BOMBS
from tests.conformance.sequence import GPT
from tests.conformance.vision import RESNET

ROUNDS = 9


def median_ms(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = clock()
        work()
        times.append((clock() - begin) * 1000)
    return statistics.median(times)


def refused(document: object) -> None:
    try:
        check(document)
    except InvalidRequest:
        return
    raise AssertionError(document)


def main() -> None:
    resnet = {**RESNET, "model": {"type": "ResNet", "blocks": [2, 2, 2, 2], "width": 64, "classes": 1000}}
    gpt = {**GPT, "model": "GPT(vocabulary=50257, length=1024, dim=768, heads=12, depth=12)"}
    questions = {
        "ResNet-18": (resnet, {"x": {"dtype": "float32", "shape": ["B", 3, 224, 224]}}),
        "GPT, 12 layers": (gpt, {"idx": {"dtype": "int64", "shape": ["B", 1024]}}),
    }
    service = Preflight(Settings("", ""))
    service.check(check("Linear(2, 2)"), {"x": {"shape": ["B", 2]}})
    print(f"{'question':24}{'check ms':>10}{'cold ms':>10}{'cached ms':>11}{'cold / 250 ms':>15}")
    for name, (document, inputs) in questions.items():
        definition = check(document)
        checking = median_ms(partial(check, document))
        first = median_ms(partial(service._ask, TARGET, definition, inputs, "", None))
        service.check(definition, inputs)
        cached = median_ms(partial(service.check, definition, inputs))
        print(f"{name:24}{checking:10.1f}{first:10.1f}{cached:11.2f}{first / 250:15.2f}")
    service.close()
    print(f"\n{'refusal':32}{'processor ms':>14}{'ms / 50 ms':>15}")
    for name, bomb in BOMBS.items():
        taken = median_ms(partial(refused, bomb), clock=time.process_time)
        print(f"{name:32}{taken:14.2f}{taken / 50:15.2f}")


if __name__ == "__main__":
    main()
