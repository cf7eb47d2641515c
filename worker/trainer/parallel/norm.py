"""Batch normalisation over the rows of all processes, so that it computes what one process would.

``torch.nn.SyncBatchNorm`` does so on a GPU alone; this one is made of plain operations, for any device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worker.trainer.parallel.sums import SumOverRanks, all_reduce

_Norm = nn.modules.batchnorm._BatchNorm


class _Shared(_Norm):
    def forward(self, input: Tensor) -> Tensor:
        """Normalise [rows, channels, …] by the statistics of all processes' rows; in eval mode, as ever."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        values = input.transpose(0, 1).flatten(1).to(self._kept_dtype(input))  # [channels, values]
        here = torch.full((1,), values.shape[1], dtype=values.dtype, device=values.device)
        sums = _add_up(torch.cat([values.sum(1), here]))
        count, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
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


class SharedBatchNorm1d(_Shared, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over all processes."""


class SharedBatchNorm2d(_Shared, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over all processes."""


class SharedBatchNorm3d(_Shared, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` over all processes."""


_SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SharedBatchNorm1d,
    nn.BatchNorm2d: SharedBatchNorm2d,
    nn.BatchNorm3d: SharedBatchNorm3d,
}


def share_batch_norms(model: nn.Module) -> None:
    """Let every batch normalisation of ``model`` see all processes' rows; its names, weights and places stay."""
    for module in model.modules():
        if type(module) in _SHARED:
            module.__class__ = _SHARED[type(module)]


def _add_up(tensor: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return all_reduce(tensor)
    summed: Tensor = SumOverRanks.apply(tensor)  # type: ignore[no-untyped-call]
    return summed
