"""Watches what one call of torch becomes: names of kernels, draws of random numbers, and memory about to change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

MAX_NAMES = 50
_BOOKKEEPING = {"aten.detach.default", "aten.alias.default", "aten.lift_fresh.default"}


class Aten(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context manager around one call; ``before_write`` is told each memory that a kernel is about to write to."""

    def __init__(self, before_write: Callable[[int], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []
        self.draws = False
        self._before_write = before_write

    def __torch_dispatch__(
        self,
        function: Any,  # noqa: ANN401 - as the base class
        types: Any,  # noqa: ANN401
        args: Sequence[Any] = (),
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 - any kernel
        kwargs = kwargs or {}
        if len(self.names) < MAX_NAMES and str(function) not in _BOOKKEEPING:
            self.names.append(str(function))
        self.draws = self.draws or torch.Tag.nondeterministic_seeded in function.tags
        if function._schema.is_mutable:
            self._announce(function._schema.arguments, args, kwargs)
        return function(*args, **kwargs)

    def _announce(self, declared: Any, args: Sequence[Any], kwargs: Any) -> None:  # noqa: ANN401
        for position, argument in enumerate(declared):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[position] if position < len(args) else kwargs.get(argument.name)
                for tensor in value if isinstance(value, list | tuple) else [value]:
                    if isinstance(tensor, torch.Tensor):
                        self._before_write(storage_of(tensor))


def storage_of(tensor: torch.Tensor) -> int:
    """Return the identity of a tensor's memory."""
    return int(tensor.untyped_storage()._cdata)
