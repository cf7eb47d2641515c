"""Checkpoints on disk: a snapshot is taken at once, then written, hashed and announced while training goes on.

A checkpoint is a folder of three files. ``weights.safetensors`` holds the model's ``state_dict``, ``state.safetensors``
the other tensors, ``state.json`` the rest and the checksums. The folder gets its name when all is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from services.errors import TrainingFailure
from services.failpoints import hit
from worker.trainer.packing import pack, unpack
from worker.trainer.tensor_file import write_tensors

FORMAT = "modelwright-checkpoint/2"
WEIGHTS, STATE, META = "weights.safetensors", "state.safetensors", "state.json"
Announce = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Copies on the host of all that a checkpoint holds."""

    step: int
    weights: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor]
    state: Any
    environment: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    """How the columns were made: see `services.modules.data.loading`."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a checkpoint held."""

    step: int
    weights: dict[str, Tensor]
    state: Any
    environment: dict[str, Any]


class CheckpointWriter:
    """Writes one checkpoint at a time in the background; host buffers are made once and used again."""

    def __init__(self, folder: Path, preprocessing: Mapping[str, Any]) -> None:
        self.seconds = 0.0
        """How long the last write took."""
        self._folder = folder
        self._preprocessing = preprocessing
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._buffers: dict[str, Tensor] = {}

    def snapshot(
        self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> Snapshot:
        """Copy the state of a step; waits for the write before, whose buffers it takes.

        Raises:
            Exception: what went wrong in the write before.
        """
        self.wait()
        tensors: dict[str, Tensor] = {}
        packed = pack(dict(state), "state", tensors)
        return Snapshot(
            step,
            {name: self._copy(f"weights/{name}", tensor) for name, tensor in weights.items()},
            {name: self._copy(name, tensor) for name, tensor in tensors.items()},
            packed,
            environment,
            self._preprocessing,
        )

    def write(self, snapshot: Snapshot, announce: Announce) -> None:
        """Write in the background; ``announce`` is called there with the folder once it is complete."""
        self._thread = threading.Thread(target=self._work, args=(snapshot, announce), name="checkpoint-writer")
        self._thread.start()

    def announce_again(self, step: int, announce: Announce) -> None:
        """Announce a checkpoint that is written already."""
        self.wait()
        announce(folder_of(self._folder, step))

    def wait(self) -> None:
        """Wait for the write under way.

        Raises:
            Exception: what went wrong in it.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self, snapshot: Snapshot, announce: Announce) -> None:
        began = time.monotonic()
        try:
            announce(write_checkpoint(self._folder, snapshot))
        except Exception as error:  # noqa: BLE001 - raised again where the trainer waits for us
            self._error = error
        self.seconds = time.monotonic() - began

    def _copy(self, name: str, tensor: Tensor) -> Tensor:
        """Copy into the host buffer of that name: fresh memory would cost more than the copy itself."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = self._buffers[name] = tensor.detach().new_empty(tensor.shape, device="cpu")
        return buffer.copy_(tensor.detach())


def write_checkpoint(folder: Path, snapshot: Snapshot) -> Path:
    """Write a checkpoint below ``folder`` and return its own folder, complete and on the disk."""
    final = folder_of(folder, snapshot.step)
    partial = final.with_suffix(".partial")
    for leftover in (partial, final):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    sums = {WEIGHTS: write_tensors(partial / WEIGHTS, snapshot.weights, _metadata(snapshot))}
    hit("in_checkpoint_files")
    sums[STATE] = write_tensors(partial / STATE, snapshot.tensors, {"format": "pt"})
    meta = {
        "format": FORMAT,
        "step": snapshot.step,
        "sha256": sums,
        "environment": dict(snapshot.environment),
        "preprocessing": dict(snapshot.preprocessing),
        "state": snapshot.state,
    }
    _write(partial / META, _canonical({**meta, "own_sha256": _sha256(_canonical(meta))}))
    _flush_folder(partial)
    partial.rename(final)
    _flush_folder(folder)
    hit("after_checkpoint_files")
    return final


def folder_of(folder: Path, step: int) -> Path:
    """Return where the checkpoint of a step lies."""
    return folder / f"step-{step:012d}"


def read_checkpoint(folder: Path) -> Restored:
    """Read a checkpoint back, and check every byte of it.

    Raises:
        TrainingFailure: ``checkpoint_corrupt``.
    """
    try:
        meta = _read_meta(folder / META)
        for name, expected in meta["sha256"].items():
            if _sha256((folder / name).read_bytes()) != expected:
                raise _corrupt(f"{name} fails its checksum")
        weights = load_file(folder / WEIGHTS)
        # A copy each: dot products of LBFGS round otherwise where a tensor lies elsewhere than on a vector's boundary.
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / STATE).items()}
        return Restored(int(meta["step"]), weights, unpack(meta["state"], tensors), meta["environment"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _corrupt(f"{type(error).__name__}: {error}") from error


def begin_with(model: nn.Module, file: Path, names: Mapping[str, str]) -> None:
    """Copy tensors of a weights file into a model; ``names`` says which (the model's name → the file's)."""
    state = model.state_dict()
    with torch.no_grad(), safe_open(file, framework="pt") as weights:
        for here, there in names.items():
            state[here].copy_(weights.get_tensor(there))


def _metadata(snapshot: Snapshot) -> dict[str, str]:
    about = {"step": snapshot.step, "definition_sha256": snapshot.environment.get("definition_sha256")}
    return {"format": "pt", "modelwright": json.dumps(about, sort_keys=True)}


def _read_meta(path: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if meta.get("format") != FORMAT:
        raise _corrupt(f"its format is {meta.get('format')!r}, not {FORMAT!r}")
    if meta.pop("own_sha256") != _sha256(_canonical(meta)):
        raise _corrupt(f"{META} fails its checksum")
    return meta


def _canonical(meta: Mapping[str, Any]) -> bytes:
    return json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _corrupt(why: str) -> TrainingFailure:
    return TrainingFailure(
        f"The checkpoint to resume from cannot be used: {why}.",
        code="checkpoint_corrupt",
        failure_class="infrastructure",
        retryable=True,
    )
