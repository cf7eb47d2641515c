"""Documents that almost make sense: mutations of the conformance documents, from a seed."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import copy
import random
from typing import Any

from tests.conformance import article, generative, recursive, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES, Case

JUNK: list[Any] = [
    None, True, -1, 0, 10**12, 2**63, 1e308, "", "x", "self", "Linear", "Linear(", "__class__", "os.system('x')", [], {},
    {"type": "Lambda"}, {"type": None}, ["return x"], {"while": "x", "do": []}, {"for": "i in range(10**9)", "do": []},
    "x.__dict__", "torch.load('x')", "(" * 500, "-" * 3000 + "1", "return " + "x+" * 300 + "x", "\u0000", "\ud800", "é" * 9,
    "10**10**10", "'a' * 10**9", "[i for i in range(10**9)]", "lambda: x", "f'{x}'", {"parameter": "x"}, {"buffer": 3},
    "self[x]", "getattr(x, 'y')", "x.format(x)", "'%s' % x", "{'a': 1}", "x[::0]", "*x", "yield x", "print(x)",
    "init.normal_(x)", "torch.zeros(10**6, 10**6)", "sum(range(10**9))", "Sequential(*[ReLU() for i in range(10**6)])",
    {"tie": ["a", "b"]}, {"weights": [{"type": "Linear", "init": "evil_()"}]}, {"a{i}": "ReLU()"}, {"a{": "ReLU()"},
]  # fmt: skip
_PIECES = [
    "(",
    ")",
    ",",
    ".",
    "_",
    " ",
    "self",
    "x",
    "0",
    "9",
    "*",
    "**",
    "=",
    ":",
    "[",
    "]",
    "'",
    "lambda ",
    "if ",
    "%",
    "{",
    "for ",
]


def mutated(seed: int) -> Any:
    """Return one document: a conformance document with one to three changes."""
    return mutated_case(seed)[1]


def mutated_case(seed: int) -> tuple[Case, Any]:
    """Return a conformance case, and its document with one to three changes."""
    source = random.Random(seed)
    case = source.choice(CASES)
    document = copy.deepcopy(case.document)
    for _ in range(source.randint(1, 3)):
        box = [document]
        owner, key = source.choice(list(_slots(box)))
        owner[key] = _changed(owner[key], source)
        document = box[0]
    return case, document


def _slots(value: Any):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _slots(item)


def _changed(value: Any, source: random.Random) -> Any:
    if isinstance(value, str) and value and source.random() < 0.6:
        at, end = sorted((source.randrange(len(value) + 1), source.randrange(len(value) + 1)))
        return value[:at] + source.choice([*_PIECES, ""]) + value[min(end, at + 3) :]
    if isinstance(value, list) and value and source.random() < 0.5:
        return source.choice([value[1:], value[:-1], value * 2, value[::-1]])
    if isinstance(value, int) and source.random() < 0.5:
        return value + source.choice([-1, 1, 1000, -(10**6), 10**9])
    return copy.deepcopy(source.choice(JUNK))
