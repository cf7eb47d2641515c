"""The warm child: builds one trained model, then answers requests until its owner goes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from services.errors import InvalidRequest
from services.modules.predict.predictor import Predictor


class Channel(Protocol):
    """How a forked child talks with its owner."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send one event."""

    def read_payload(self) -> dict[str, Any]:
        """Wait for the next message; raises `EOFError` when the owner is gone."""


def serve(subject: dict[str, Any], channel: Channel) -> int:
    """Emit ``{"ready": true}``, then for each request what `Predictor.answer` yields, or ``{"problems": […]}``."""
    torch.set_num_threads(subject["threads"])
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    warnings.simplefilter("ignore")
    try:
        predictor = Predictor(subject)
    except InvalidRequest as error:
        channel.emit(_problems(error))
        return 0
    channel.emit({"ready": True})
    while True:
        try:
            request = channel.read_payload()
        except EOFError:
            return 0
        try:
            for event in predictor.answer(request):
                channel.emit(event)
        except InvalidRequest as error:
            channel.emit(_problems(error))


def _problems(error: InvalidRequest) -> dict[str, Any]:
    return {"problems": [problem.to_dict() for problem in error.problems]}
