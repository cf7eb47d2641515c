"""What a training loop asks of the processes that train together: `Ranks` is one alone, the others are several.

The first process decides (it hears commands, looks at the clock, evaluates, writes) and tells the others, between two
steps; all of them make every step, from the same sums, and so hold the same weights.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from services.errors import TrainingFailure, user_failure
from services.forkserver.isolation import lock
from services.modules.data.parts import Part
from worker.trainer.control import Stop
from worker.trainer.data import Share
from worker.trainer.environment import choose_device, seed_generators
from worker.trainer.job import Job
from worker.trainer.objective import Objective
from worker.trainer.optim import has_sparse_gradients
from worker.trainer.packing import pack, unpack
from worker.trainer.parallel.norm import SharedNorm, check_order, share_batch_norms
from worker.trainer.parallel.separable import check_separable
from worker.trainer.parallel.sums import LostContact, add_up_gradients, all_reduce, broadcast
from worker.trainer.parallel.wire import Gone, Wire

Losses = tuple[Tensor, ...]
_BLAME_SECONDS = 5.0  # so long after a lost contact whoever is to blame must have been noticed
# Longer than a supervisor keeps a paused trainer (15 minutes), whose clocks go on: it is who ends what hangs.
_TIMEOUT = timedelta(minutes=30)
_LOOK_SECONDS = 0.02  # a cancel is seen within so long, or one step


class Ranks:
    """One process alone: it holds all rows, and asks itself."""

    rank = 0
    count = 1
    look_seconds = _LOOK_SECONDS
    """How long the loop may go on between two steps at which it looks up."""

    @property
    def share(self) -> Share:
        """Which rows of a batch this process trains on."""
        return Share(self.rank, self.count)

    def connect(self, job: Job, isolation: Sequence[str]) -> None:
        """Find the other processes; from then on nobody opens a socket."""

    def adopt(self, model: nn.Module, seed: int) -> None:
        """Prepare a model that is about to be trained."""

    def check(self, model: nn.Module, objective: Objective, part: Part, batch_size: int) -> None:
        """Find out before the first step whether batches can be shared."""

    def add_up(self, losses: Losses, parameters: Sequence[nn.Parameter]) -> Losses:
        """Sum gradients and ``losses``, the parts that this process has of them, over all processes."""
        return losses

    def decide(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is asked
        """Return what ``ask`` returns in the first process, JSON values; a `Stop` that it raises stops them all."""
        return ask()

    def gather(self, state: Mapping[str, Any]) -> list[Any]:
        """Return the ``state`` of every process but the first, in the first one."""
        return []

    def cause(self, error: Exception) -> Exception:
        """Return what is to blame for an error in this process."""
        return error


ALONE = Ranks()


class _Team(Ranks):
    """What all of several processes do alike."""

    look_seconds = 0.0  # whether to go on is decided by one, at every step

    def __init__(self, rank: int, count: int, leader_pid: int) -> None:
        self.rank = rank
        self.count = count
        self._leader_pid = leader_pid
        self._buffers: list[tuple[nn.Module, str]] = []
        self._norms: list[SharedNorm] = []

    def connect(self, job: Job, isolation: Sequence[str]) -> None:
        """Find each other through a file, over the loopback interface, and lock the door behind us.

        Raises:
            TrainingFailure: ``device_unavailable``.
        """
        device = choose_device(job.device)
        if device.type == "cuda":
            _take_device(self.rank, self.count)
        os.environ.update(GLOO_SOCKET_IFNAME="lo", NCCL_SOCKET_IFNAME="lo", NCCL_RUNTIME_CONNECT="0")
        job.output.mkdir(parents=True, exist_ok=True)
        file = job.output / f"rendezvous-{self._leader_pid}"
        store = dist.FileStore(str(file), self.count)  # type: ignore[attr-defined]
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.count, timeout=_TIMEOUT)
        all_reduce(torch.zeros(1, device=device))  # NCCL connects with its first sum
        file.unlink(missing_ok=True)
        if isolation:
            lock()

    def adopt(self, model: nn.Module, seed: int) -> None:
        """Let batch normalisation see the rows of all, and let each process draw random numbers of its own.

        Raises:
            TrainingFailure: ``sparse_gradients``, which cannot be added up everywhere.
        """
        if has_sparse_gradients(model):
            hint = 'Leave "sparse" out of Embedding, or train in one process.'
            raise user_failure("sparse_gradients", "Sparse gradients are for one process.", hint=hint, pointer="/model")
        self._norms = share_batch_norms(model)
        self._buffers = [
            (module, name)
            for module in model.modules()
            if not isinstance(module, nn.modules.batchnorm._BatchNorm)
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        if self.rank:
            seed_generators(seed, self.rank)

    def add_up(self, losses: Losses, parameters: Sequence[nn.Parameter]) -> Losses:
        """Sum gradients and losses; buffers that a forward may have changed become those of the first process."""
        totals = add_up_gradients(losses, parameters)
        for module, name in self._buffers:
            buffer = module._buffers[name]
            if buffer is not None:
                broadcast(buffer)
        return totals


class Leader(_Team):
    """The first process. ``inboxes`` hold what each other process says; a fault among them comes out as an error."""

    def __init__(self, wires: Sequence[Wire]) -> None:
        super().__init__(0, 1 + len(wires), os.getpid())
        self.fault: TrainingFailure | None = None
        self.inboxes: list[SimpleQueue[dict[str, Any] | None]] = [SimpleQueue() for _ in wires]
        self.faulty = threading.Event()
        self.ending = threading.Event()
        """Set when this process has begun to report a failure."""
        self._wires = wires

    def blame(self, fault: TrainingFailure) -> None:
        """Note why another process failed; whoever waits for it learns so. Called by the thread that listens."""
        self.fault = self.fault or fault
        self.faulty.set()
        for inbox in self.inboxes:
            inbox.put(None)

    def check(self, model: nn.Module, objective: Objective, part: Part, batch_size: int) -> None:
        """Find out, while the others wait for the first step.

        Raises:
            TrainingFailure: ``batch_not_separable``.
        """
        check_separable(model, objective, part, batch_size=batch_size, count=self.count)

    def decide(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Ask, and tell the others."""
        try:
            answer = ask()
        except Stop as stop:
            self._tell({"stop": stop.why})
            raise
        self._tell({"answer": answer})
        return answer

    def gather(self, state: Mapping[str, Any]) -> list[Any]:
        """Wait for the state of the others.

        Raises:
            TrainingFailure: ``batch_norms_differ``: there is no state worth keeping.
        """
        check_order(self._norms)
        return [_from_json(self._next(inbox)) for inbox in self.inboxes]

    def cause(self, error: Exception) -> Exception:
        """Return the failure of another process, if it was that which broke this one."""
        self.ending.set()
        if not isinstance(error, LostContact | Gone):
            return error
        self.faulty.wait(_BLAME_SECONDS)
        return self.fault or TrainingFailure(
            "The processes of this job lost contact.",
            code="processes_lost_contact",
            failure_class="infrastructure",
            retryable=True,
            hint="The job goes on from its last checkpoint.",
        )

    def _tell(self, message: Mapping[str, Any]) -> None:
        for wire in self._wires:
            wire.send(message)

    def _next(self, inbox: SimpleQueue[dict[str, Any] | None]) -> dict[str, Any]:
        message = inbox.get()
        if message is None:
            raise Gone
        return message


class Follower(_Team):
    """Any other process."""

    def __init__(self, rank: int, count: int, wire: Wire) -> None:
        super().__init__(rank, count, os.getppid())
        self._wire = wire

    def decide(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Wait to be told."""
        message = self._wire.receive()
        if "stop" in message:
            raise Stop(message["stop"])
        return message["answer"]

    def gather(self, state: Mapping[str, Any]) -> list[Any]:
        """Send the state to the first process; raises as that does."""
        check_order(self._norms)
        self._wire.send(_to_json(state))
        return []

    def cause(self, error: Exception) -> Exception:
        """Return an error of this process's own; if it was another's, wait for the end, which comes from the first."""
        if isinstance(error, LostContact | Gone):
            self._wire.wait_for_end()
            os._exit(1)
        return error


def _take_device(rank: int, count: int) -> None:
    there = torch.cuda.device_count()
    if there < count:
        raise TrainingFailure(
            f"The job asks for {count} GPUs; this worker has {there}.",
            code="device_unavailable",
            failure_class="infrastructure",
            retryable=True,
            hint="Ask for fewer, or start a worker with as many.",
            pointer="/resources/gpus",
        )
    torch.cuda.set_device(rank)


def _to_json(state: Mapping[str, Any]) -> dict[str, Any]:
    tensors: dict[str, Tensor] = {}
    packed = pack(dict(state), "state", tensors)
    dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    return {"packed": packed, "dtypes": dtypes, "tensors": {name: one.tolist() for name, one in tensors.items()}}


def _from_json(message: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any state at all
    tensors = {
        name: torch.tensor(values, dtype=getattr(torch, message["dtypes"][name]))
        for name, values in message["tensors"].items()
    }
    return unpack(message["packed"], tensors)
