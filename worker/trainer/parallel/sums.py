"""What the processes of one job add up: gradients, losses, statistics; every one of them gets the same bits.

Gradients go in messages whose layout never changes, after the backward pass: that is why a resumed run repeats the
order in which an undisturbed one adds, also with more than two processes (decision 0021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

_MESSAGE_BYTES = 64 << 20  # beside the gradients themselves, so much memory is in use for them


class LostContact(Exception):
    """A sum could not be made: another process of this job has ended, or hangs."""


def all_reduce(tensor: Tensor) -> Tensor:
    """Add up ``tensor`` over all processes, in place, and return it.

    Raises:
        LostContact: another process does not take part.
    """
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:
        raise LostContact(str(error)) from error
    return tensor


def broadcast(tensor: Tensor) -> None:
    """Copy the first process's ``tensor`` to all others.

    Raises:
        LostContact: another process does not take part.
    """
    try:
        dist.broadcast(tensor, 0)
    except RuntimeError as error:
        raise LostContact(str(error)) from error


def add_up_gradients(losses: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
    """Give every parameter the sum of its gradients, and return the sums of ``losses`` (scalars).

    A parameter that has a gradient nowhere keeps none, for optimizers move on a gradient of zeros.
    """
    lacking = [parameter.grad is None for parameter in parameters]
    used = torch.ones(len(parameters), dtype=losses[0].dtype, device=losses[0].device)
    if any(lacking):
        used = used.where(~torch.tensor(lacking, device=used.device), 0.0)
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    *totals, users = sum_all([*gradients, *losses, used])
    # Only a process that lacks a gradient has to know whether another one has it: no wait for the device elsewhere.
    counts = users.tolist() if any(lacking) else [1.0] * len(parameters)
    for parameter, total, count in zip(parameters, totals, counts, strict=False):
        parameter.grad = total if count else None
    return tuple(totals[len(parameters) :])


def sum_all(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return each tensor's sum over all processes, in messages of one dtype."""
    sums: dict[int, Tensor] = {}
    for numbers in _messages(tensors):
        sizes = [tensors[number].numel() for number in numbers]
        flat = all_reduce(torch.cat([tensors[number].reshape(-1) for number in numbers]))
        for number, piece in zip(numbers, torch.split(flat, sizes), strict=True):
            sums[number] = piece.view(tensors[number].shape)
    return [sums[number] for number in range(len(tensors))]


def _messages(tensors: Sequence[Tensor]) -> Iterator[list[int]]:
    """Yield the numbers of the tensors that go together."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        message: list[int] = []
        size = 0
        for number, tensor in enumerate(tensors):
            if tensor.dtype == dtype:
                if message and size + tensor.nbytes > _MESSAGE_BYTES:
                    yield message
                    message, size = [], 0
                message.append(number)
                size += tensor.nbytes
        yield message


class SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all processes, with its derivative: each process's loss is a part of the whole one."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ANN401 - torch's own context
        """Return the sum."""
        return all_reduce(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        """Return the sum of the gradients."""
        return all_reduce(gradient.clone(memory_format=torch.contiguous_format))
