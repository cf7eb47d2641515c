"""What the static variant of a definition calls: plain Python, but operations for tensors while a graph is captured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Values = tuple[Any, ...]
Part = Callable[..., Any]


def choose(number: int, test: object, then: Part, other: Part, values: Values) -> Any:  # noqa: ANN401 - any values
    """Run one of two parts; `torch.cond` where the condition is a tensor. ``number`` names the site."""
    if isinstance(test, Tensor) and torch.compiler.is_compiling():
        return torch.cond(_truth(test), lambda: _fresh(then(*values)), lambda: _fresh(other(*values)))
    return then(*values) if test else other(*values)


def repeat(number: int, test: Part, turn: Part, values: Values, limit: int) -> Values:
    """Repeat a part while a condition holds; `torch.while_loop` from the turn on at which it is a tensor.

    Raises:
        RuntimeError: it still holds after ``limit`` turns.
    """
    for done in range(limit):
        holds = test(*values)
        if isinstance(holds, Tensor) and torch.compiler.is_compiling():
            return _loop(test, turn, values, limit - done, limit)
        if not holds:
            return values
        values = turn(*values)
    if test(*values):
        raise RuntimeError(_too_long(limit))
    return values


def both(left: object, right: Callable[[], object]) -> object:
    """Return ``left and right()`` for a condition, without asking a tensor for its value."""
    if not isinstance(left, Tensor):
        return left and right()
    return torch.logical_and(_truth(left), _as_truth(right(), left))


def either(left: object, right: Callable[[], object]) -> object:
    """Return ``left or right()`` for a condition, without asking a tensor for its value."""
    if not isinstance(left, Tensor):
        return left or right()
    return torch.logical_or(_truth(left), _as_truth(right(), left))


def no(value: object) -> object:
    """Return ``not value`` for a condition, without asking a tensor for its value."""
    return torch.logical_not(_truth(value)) if isinstance(value, Tensor) else not value


def counted(number: int, items: Any) -> Any:  # noqa: ANN401 - whatever a loop runs over
    """Return what a loop runs over."""
    return items


LOGIC: dict[str, Part] = {"_both": both, "_either": either, "_not": no}
NAMES: dict[str, Part] = {"_choose": choose, "_repeat": repeat, "_counted": counted, **LOGIC}


@dataclass(slots=True)
class Watched:
    """The same helpers as plain Python, taking notes: what happens at each site in one ordinary run."""

    tests: dict[int, set[str]] = field(default_factory=dict)
    """``tensor`` or ``value``: what the condition was."""
    taken: dict[int, list[bool]] = field(default_factory=dict)
    turns: dict[int, list[int]] = field(default_factory=dict)

    def names(self) -> dict[str, Part]:
        """Return what the definition's namespace must hold."""
        return {"_choose": self._choose, "_repeat": self._repeat, "_counted": self._counted, **LOGIC}

    def _choose(self, number: int, test: object, then: Part, other: Part, values: Values) -> object:
        self._note(number, test)
        self.taken.setdefault(number, []).append(bool(test))
        return then(*values) if test else other(*values)

    def _repeat(self, number: int, test: Part, turn: Part, values: Values, limit: int) -> Values:
        turns = self.turns.setdefault(number, [])
        turns.append(0)
        for _ in range(limit + 1):
            holds = test(*values)
            self._note(number, holds)
            if not holds:
                return values
            if turns[-1] == limit:
                break
            values = turn(*values)
            turns[-1] += 1
        raise RuntimeError(_too_long(limit))

    def _counted(self, number: int, items: Iterable[object]) -> Iterator[object]:
        turns = self.turns.setdefault(number, [])
        turns.append(0)
        for item in items:
            turns[-1] += 1
            yield item

    def _note(self, number: int, test: object) -> None:
        self.tests.setdefault(number, set()).add("tensor" if isinstance(test, Tensor) else "value")


def _loop(test: Part, turn: Part, values: Values, turns: int, limit: int) -> Values:
    begins = _fresh(values)
    result = torch.while_loop(  # type: ignore[no-untyped-call]
        lambda count, *now: torch.logical_and(count < turns, _truth(test(*now))),
        lambda count, *now: (count + 1, *_fresh(turn(*now))),
        (torch.zeros((), dtype=torch.int64), *begins),
    )
    # Under autograd the results are views into the record of all turns, and the backward of a loop that never turned
    # goes through one turn all the same (torch 2.13): where it did not turn, the values go round it.
    turned = result[0] > 0
    values = tuple(torch.where(turned, after, before) for after, before in zip(result[1:], begins, strict=True))
    torch._assert_async(torch.logical_not(_truth(test(*values))), _too_long(limit))
    return values


def _as_truth(value: object, like: Tensor) -> Tensor:
    return _truth(value) if isinstance(value, Tensor) else torch.full_like(_truth(like), bool(value))


def _too_long(limit: int) -> str:
    return f"the loop still goes on after {limit} turns"


def _truth(test: Tensor) -> Tensor:
    return test.reshape(()).to(torch.bool)


def _fresh(value: Any) -> Any:  # noqa: ANN401 - whatever a part returns
    """Return tensors of their own: branches must not hand out their inputs, nor turns change strides."""
    if isinstance(value, Tensor):
        return value.clone(memory_format=torch.contiguous_format)
    if isinstance(value, bool | int | float):
        return torch.tensor(value)
    if isinstance(value, tuple | list):
        return type(value)(_fresh(one) for one in value)
    return value
