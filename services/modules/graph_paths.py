"""The paths from an output to a leaf, each with its own contribution to the gradient."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from services.modules.graph_nodes import Node, Operation
from services.modules.graph_sweep import Sweep, reaching

ALL_PATHS = 2_000
"""Up to so many paths are all computed; beyond, the search follows the largest partial products."""
MAX_PULLS = 20_000
"""Vector-Jacobian products that one request may compute for its paths."""
_QUEUE_BYTES = 256 << 20
_QUEUE_LENGTH = 4_000
_LOOK_EVERY = 32

Step = tuple[Operation, int, int]
"""An operation, the output that the path comes from and the input that it goes to."""


@dataclass(slots=True, eq=False)
class Path:
    """One way from the output to the leaf, and what it adds to the gradient."""

    steps: tuple[Step, ...]
    contribution: torch.Tensor
    norm: float

    def nodes(self) -> list[Node]:
        """Return the data on the path, the output first."""
        first, position, _ = self.steps[0] if self.steps else (None, 0, 0)
        begin = [first.outputs[position]] if first is not None else []
        return begin + [operation.inputs[slot] for operation, _, slot in self.steps]


@dataclass(slots=True)
class Listing:
    """The largest paths to one leaf, and what is known of the others."""

    leaf: Node
    count: int
    paths: list[Path] = field(default_factory=list)
    computed: int = 0
    """How many contributions were computed, listed or not."""
    total: torch.Tensor | None = None
    """The sum of all contributions that were computed, one by one."""
    method: Literal["all", "best_first"] = "all"
    stopped: Literal["pulls", "time"] | None = None

    @property
    def complete(self) -> bool:
        """Whether every path was computed."""
        return self.computed == self.count


@dataclass(frozen=True, slots=True)
class Budget:
    """What listing paths may cost."""

    limit: int
    pulls: int
    deadline: float
    """By `time.monotonic`."""


def list_paths(found: Sweep, leaf: Node, operations: Sequence[Operation], budget: Budget) -> Listing:
    """Return the ``limit`` largest paths to ``leaf`` by the norm of their contribution.

    Up to `ALL_PATHS` paths this is exact. Beyond, the partial product with the largest norm is continued first until
    five times as many paths as asked for have been found (or the budget is spent); the largest of these are listed.
    A partial product may still shrink, so larger paths can be missed: `Listing.method` says which way was gone.
    """
    count = found.counts.get(leaf, 0)
    listing = Listing(leaf, count, method="all" if count <= ALL_PATHS else "best_first")
    if not count:
        return listing
    nodes = reaching(found, leaf, operations)
    wanted = count if listing.method == "all" else min(count, 5 * budget.limit)
    order = itertools.count()
    queue: list[tuple[float, int, Node, torch.Tensor, tuple[Step, ...]]] = []
    heapq.heappush(queue, (0.0, next(order), found.output, found.cotangent, ()))
    last_pull = found.replays.pulls + budget.pulls
    while queue and listing.computed < wanted:
        _, _, node, cotangent, steps = heapq.heappop(queue)
        if node is leaf:
            _add(listing, Path(steps, cotangent, _norm(cotangent)), budget.limit)
            continue
        if found.replays.pulls >= last_pull or time.monotonic() > budget.deadline:
            listing.stopped = "pulls" if found.replays.pulls >= last_pull else "time"
            break
        for step, source, part in _continued(found, node, cotangent, nodes):
            # Depth first where all are wanted, so that the queue stays short; else the largest product first.
            rank = -float(len(steps) + 1) if listing.method == "all" else -_norm(part)
            heapq.heappush(queue, (rank, next(order), source, part, (*steps, step)))
        if listing.method == "best_first" and found.replays.pulls % _LOOK_EVERY == 0:
            queue = _pruned(queue)
    listing.paths.sort(key=lambda path: -path.norm)
    del listing.paths[budget.limit :]
    return listing


def _continued(
    found: Sweep, node: Node, cotangent: torch.Tensor, nodes: set[Node]
) -> list[tuple[Step, Node, torch.Tensor]]:
    operation = node.producer
    if operation is None:
        return []
    parts = found.replays.pull(operation, node.position, cotangent)
    return [
        ((operation, node.position, slot), operation.inputs[slot], part)
        for slot in found.follows.get(node, ())
        if operation.inputs[slot] in nodes and (part := parts[slot]) is not None
    ]


def _add(listing: Listing, path: Path, limit: int) -> None:
    listing.computed += 1
    listing.total = path.contribution if listing.total is None else listing.total + path.contribution
    listing.paths.append(path)
    if len(listing.paths) > 2 * limit + 16:
        listing.paths.sort(key=lambda path: -path.norm)
        del listing.paths[limit:]


def _pruned(
    queue: list[tuple[float, int, Node, torch.Tensor, tuple[Step, ...]]],
) -> list[tuple[float, int, Node, torch.Tensor, tuple[Step, ...]]]:
    """Drop the smaller half of a queue that has grown beyond its memory."""
    size = sum(entry[3].numel() * entry[3].element_size() for entry in queue)
    if len(queue) <= _QUEUE_LENGTH and size <= _QUEUE_BYTES:
        return queue
    return heapq.nsmallest(max(len(queue) // 2, 1), queue)


def _norm(tensor: torch.Tensor) -> float:
    value = float(torch.linalg.vector_norm(tensor.double()))
    return value if value == value else float("inf")  # noqa: PLR0124 - NaN sorts as the largest
