"""P10: preflight of a cold definition in a warm child, against 250 ms; and the same question again, against 5 ms."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from services.config import Settings
from services.definition import check
from services.errors import InvalidRequest
from services.preflight import TARGET, Preflight
from tests.conformance.sequence import GPT
from tests.conformance.vision import RESNET

ROUNDS = 9
BOMBS = {
    "sum(range(10**9))": ["return sum(range(10**9))"],
    "10**10**10": ["return 10**10**10"],
    "'a' * 10**9": ["return 'a' * 10**9"],
    "nested comprehensions": ["return [[i for i in range(10**4)] for j in range(10**4)]"],
    "zeros(10**6, 10**6)": ["y = torch.zeros(10**6, 10**6)", "return x"],
    "5000-deep": ["return " + "(" * 2000 + "x" + ")" * 2000],
    "Linear(10**12)": "Linear(10**12, 10)",
    "1000 x 1000 layers": "Sequential(*[Sequential(*[ReLU() for i in range(1000)]) for j in range(1000)])",
}


def median_ms(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1000)
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
        first = median_ms(partial(service._ask, TARGET, definition, inputs, ""))
        service.check(definition, inputs)
        cached = median_ms(partial(service.check, definition, inputs))
        print(f"{name:24}{checking:10.1f}{first:10.1f}{cached:11.2f}{first / 250:15.2f}")
    service.close()
    print(f"\n{'refusal':24}{'ms':>10}{'ms / 50 ms':>15}")
    for name, bomb in BOMBS.items():
        document = bomb if isinstance(bomb, str) else {"modules": {"N": {"forward": bomb}}, "model": "N()"}
        taken = median_ms(partial(refused, document))
        print(f"{name:24}{taken:10.2f}{taken / 50:15.2f}")


if __name__ == "__main__":
    main()
