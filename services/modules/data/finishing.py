"""What happens to a column only when its rows are in a batch: small stored values become numbers, images are varied.

How a row is flipped and cropped depends on seed, epoch and row alone: never on order, batch or what came before.
These, and the resizing, are a few lines of torch; all other transforms are kornia's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from services.modules.data.transforms import Run, Transforms

_RESIZE_ROWS = 256


@dataclass(frozen=True, slots=True)
class Finish:
    """Turns stored rows into what the model sees: ``(value / divisor - center) / scale``, center and scale by channel.

    In training ``flip`` mirrors a row with this probability, and ``crop`` pads it by so many zeros and cuts its size
    out at a random place. ``transforms`` come between the division and the centering.
    """

    dtype: torch.dtype
    divisor: float = 1.0
    center: list[float] | None = None
    scale: list[float] | None = None
    flip: float = 0.0
    crop: int = 0
    name: str = ""
    transforms: Transforms | None = None

    def __call__(self, values: Tensor, run: Run | None = None) -> Tensor:
        """Return rows as numbers of ``dtype``; as training sees them when it is said which ``run`` of rows they are."""
        numbers = values.to(self.dtype)
        if self.divisor != 1.0:
            numbers = numbers / self.divisor
        if self.transforms is not None:
            numbers = self.transforms.fixed(numbers) if run is None else self.transforms.varied(numbers, run)
        if self.center is not None:
            numbers = (numbers - self._by_channel(self.center, values)) / self._by_channel(self.scale, values)
        return numbers

    @property
    def varies(self) -> bool:
        """Whether training rows are flipped or cropped."""
        return bool(self.flip or self.crop)

    def chances(self, rows: int, *, seed: int, epoch: int) -> Tensor:
        """Return [rows, 3] random numbers in 0 … 1 for one epoch: row i has the same ones whenever it comes up."""
        text = f"{seed}:{epoch}:{self.name}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
        return torch.rand(rows, 3, generator=torch.Generator().manual_seed(number))

    def vary(self, values: Tensor, chances: Tensor) -> Tensor:
        """Return images [rows, channels, height, width], each flipped and cropped as its ``chances`` say."""
        if self.flip:
            mirrored = (chances[:, 0] < self.flip).view(-1, 1, 1, 1)
            values = torch.where(mirrored, values.flip(-1), values)
        if self.crop:
            values = _crop(values, self.crop, (chances[:, 1:] * (2 * self.crop + 1)).long())
        return values

    def _by_channel(self, numbers: list[float] | None, values: Tensor) -> Tensor:
        return torch.tensor(numbers, dtype=self.dtype, device=values.device).view(-1, 1, 1)


def resize(images: Tensor, size: list[int]) -> Tensor:
    """Return images of [height, width] by antialiased bilinear interpolation, in the dtype they had."""
    made = images.new_empty(*images.shape[:2], *size)
    for start in range(0, len(images), _RESIZE_ROWS):
        block = images[start : start + _RESIZE_ROWS].float()
        smooth = functional.interpolate(block, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
        if not images.is_floating_point():
            smooth = smooth.round().clamp(0, 255)
        made[start : start + _RESIZE_ROWS] = smooth.to(images.dtype)
    return made


def _crop(values: Tensor, padding: int, offsets: Tensor) -> Tensor:
    rows, channels, height, width = values.shape
    padded = functional.pad(values, (padding,) * 4)
    device = values.device
    down = (offsets[:, :1].to(device) + torch.arange(height, device=device)).view(rows, 1, height, 1)
    across = (offsets[:, 1:].to(device) + torch.arange(width, device=device)).view(rows, 1, 1, width)
    row = torch.arange(rows, device=device).view(rows, 1, 1, 1)
    channel = torch.arange(channels, device=device).view(1, channels, 1, 1)
    return padded[row, channel, down, across]
