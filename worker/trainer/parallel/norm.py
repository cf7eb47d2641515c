"""Batch normalisation over the rows of all processes, so that it computes what one process would.

``torch.nn.SyncBatchNorm`` does so on a GPU alone; this one is made of plain operations, for any device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from services.errors import user_failure
from worker.trainer.parallel.sums import SumOverRanks, all_reduce

_PLACES = 100  # so few that sums of their squares are exact in float32
_Norm = nn.modules.batchnorm._BatchNorm


class SharedNorm(_Norm):
    """What those of each number of dimensions have in common."""

    place: int
    """Which of the model's normalisations it is."""
    confusion: Tensor
    """More than 0 once a sum mixed this one with another, because a process took another way."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [rows, channels, …] by the statistics of all processes' rows; in eval mode, as ever."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        values = input.transpose(0, 1).flatten(1).to(self._kept_dtype(input))  # [channels, values]
        here = torch.tensor([values.shape[1], self.place, self.place**2], dtype=values.dtype, device=values.device)
        sums = _add_up(torch.cat([values.sum(1), here]))
        count, places, squares = (sums[index].detach() for index in (-3, -2, -1))
        # The square of a sum is so many times the sum of squares only where all are equal (Cauchy, Schwarz).
        self.confusion = self.confusion + (squares * dist.get_world_size() - places.square()).abs()
        mean = sums[:-3] / count
        centered = values - mean.unsqueeze(1)
        variance = _add_up(centered.square().sum(1)) / count
        self._track(mean.detach(), variance.detach() * (count / (count - 1)))
        normal = centered * (variance + self.eps).rsqrt().unsqueeze(1)
        if self.weight is not None:
            normal = normal * self.weight.unsqueeze(1)
        if self.bias is not None:
            normal = normal + self.bias.unsqueeze(1)
        shape = (input.shape[1], input.shape[0], *input.shape[2:])
        return normal.view(shape).transpose(0, 1).to(input.dtype).contiguous()

    def _kept_dtype(self, input: Tensor) -> torch.dtype:
        """Return the dtype of the statistics: that of the weights, where autocast feeds a narrower one."""
        return torch.promote_types(input.dtype, torch.float32)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Take unbiased statistics into the running ones, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return  # it keeps none
        self.num_batches_tracked.add_(1)
        share = 1.0 / self.num_batches_tracked if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            running.mul_(1 - share).add_(new.to(running.dtype) * share)


class SharedBatchNorm1d(SharedNorm, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over all processes."""


class SharedBatchNorm2d(SharedNorm, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over all processes."""


class SharedBatchNorm3d(SharedNorm, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` over all processes."""


_SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SharedBatchNorm1d,
    nn.BatchNorm2d: SharedBatchNorm2d,
    nn.BatchNorm3d: SharedBatchNorm3d,
}


def share_batch_norms(model: nn.Module) -> list[SharedNorm]:
    """Let every batch normalisation of ``model`` see all processes' rows, and return them; names and weights stay."""
    for module in model.modules():
        module.__class__ = _SHARED.get(type(module), type(module))
    norms = [module for module in model.modules() if isinstance(module, SharedNorm)]
    for number, norm in enumerate(norms):
        norm.place = number % _PLACES
        norm.confusion = torch.zeros((), device=next(model.parameters()).device)
    return norms


def check_order(norms: Sequence[SharedNorm]) -> None:
    """Find out whether all processes came through the same normalisations.

    Raises:
        TrainingFailure: ``batch_norms_differ``.
    """
    if any(float(norm.confusion) > 0 for norm in norms):
        raise user_failure(
            "batch_norms_differ",
            "Rows sent the processes of this job through different batch normalisations.",
            hint="Train in one process, or normalise otherwise on ways that depend on the rows.",
            pointer="/resources",
        )


def _add_up(tensor: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return all_reduce(tensor)
    summed: Tensor = SumOverRanks.apply(tensor)  # type: ignore[no-untyped-call]
    return summed
