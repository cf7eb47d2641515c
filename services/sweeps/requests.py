"""From a sweep to the job requests of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.sweeps.pointers import put

LABEL, TRIAL_LABEL = "sweep", "trial"
RESERVED_LABELS = (LABEL, TRIAL_LABEL)


def prepared(base: Mapping[str, Any], *, objective: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return what all trials have in common: the base, its best checkpoint kept, its seed fixed.

    With one seed for all, trials differ by their parameters and not by their luck.
    """
    checkpoints = base.get("checkpoints") or {}
    best = {**(checkpoints.get("best") or {}), "metric": objective["metric"], "mode": objective["mode"]}
    training = base["training"]
    if training.get("seed") is None:
        training = {**training, "seed": seed}
    return {**base, "training": training, "checkpoints": {**checkpoints, "best": best}}


def trial_request(
    base: Mapping[str, Any], parameters: Mapping[str, Any], *, sweep_id: str, number: int
) -> dict[str, Any]:
    """Return the request of one trial: the prepared base with its parameters, labelled."""
    request: dict[str, Any] = dict(base)
    for pointer, value in parameters.items():
        request = put(request, pointer, value)
    labels = {**(request.get("labels") or {}), LABEL: sweep_id, TRIAL_LABEL: str(number)}
    name = request.get("name")
    return {**request, "labels": labels, **({"name": f"{name[:190]} #{number}"} if name else {})}
