"""What decides the bits of a run besides the job: device, threads, determinism, seeds, random generators."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from services.errors import TrainingFailure
from worker.trainer.job import Job
from worker.trainer.precision import allow_tf32


def choose_device(name: str) -> torch.device:
    """Return the device for "auto", "cpu" or "cuda".

    Raises:
        TrainingFailure: ``device_unavailable``.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingFailure(
            "This worker has no CUDA device.",
            code="device_unavailable",
            failure_class="infrastructure",
            retryable=True,
            hint='Ask for "auto" or "cpu", or start a worker where there is one.',
        )
    return torch.device(name)


def prepare_process(job: Job, device: torch.device) -> None:
    """Fix the number of threads, the choice of algorithms and the seeds. Call it before anything is computed."""
    torch.set_num_threads(job.threads)
    reproducible = bool(job.training["reproducible"])
    if device.type == "cuda":
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(reproducible)
    # Filling every new tensor with NaN finds programs that read memory before writing it; ours cannot name one.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not reproducible
    allow_tf32(job.training["precision"] == "tf32")
    _seed_all(int(job.training["seed"]))


def seed_generators(seed: int, rank: int) -> None:
    """Give one of the processes that train together random numbers of its own; ranks and seeds share nothing."""
    _seed_all(int.from_bytes(hashlib.sha256(f"{seed}:rank:{rank}".encode()).digest()[:8], "big") >> 1)


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def describe(job: Job, device: torch.device, definition_sha256: str) -> dict[str, Any]:
    """Return what a resume must find again to give the same bits."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "batch_size": job.data["batch_size"],
        "precision": job.training["precision"],
        "reproducible": bool(job.training["reproducible"]),
        "definition_sha256": definition_sha256,
        "dataset_sha256": job.data.get("sha256"),
        "execution": job.training["execution"],
        "processes": job.processes,
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words in what two environments differ."""
    names = sorted({*before, *now})
    return [
        f"{name}: {before.get(name)} then, {now.get(name)} now" for name in names if before.get(name) != now.get(name)
    ]


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every random generator of this process."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (
            str(kind),
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if device.type == "cuda" else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Set every random generator of this process to a state that ``random_state`` returned."""
    random.setstate(state["python"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
