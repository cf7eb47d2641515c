"""The paths from an output to a leaf, each with its own contribution to the gradient."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from services.modules.graph.nodes import Node, Operation
from services.modules.graph.sweep import Sweep, reaching

ALL_PATHS = 2_000
"""Up to so many paths are all computed; beyond, the search follows the largest partial products."""
MAX_PULLS = 20_000
"""Vector-Jacobian products that one request may compute for its paths."""
_QUEUE_BYTES = 256 << 20
_QUEUE_LENGTH = 4_000

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

    Up to `ALL_PATHS` paths this is exact. Beyond, the search begins again and again at the partial product with the
    largest norm and follows the largest continuation to the leaf, until five times as many paths as asked for have been
    found (or the budget is spent); the largest of these are listed. A small partial product may still grow, so larger
    paths can be missed: `Listing.method` says which way was gone.
    """
    count = found.counts.get(leaf, 0)
    listing = Listing(leaf, count, method="all" if count <= ALL_PATHS else "best_first")
    if not count:
        return listing
    search = _Search(found, leaf, reaching(found, leaf, operations), budget)
    wanted = count if listing.method == "all" else min(count, 5 * budget.limit)
    while listing.computed < wanted and listing.stopped is None:
        path = search.next_path()
        if path is None:
            listing.stopped = search.stopped
            break
        _add(listing, path, budget.limit)
    listing.method = "best_first" if search.dropped else listing.method
    listing.paths.sort(key=lambda path: -path.norm)
    del listing.paths[budget.limit :]
    return listing


@dataclass(frozen=True, slots=True, eq=False)
class _Prefix:
    """The beginning of a path: where it has come to, what it has multiplied up to, and the steps so far, linked."""

    node: Node
    product: torch.Tensor
    norm: float
    depth: int = 0
    step: Step | None = None
    before: _Prefix | None = None

    def path(self) -> Path:
        """Return the whole path, for one that has come to the leaf."""
        steps: list[Step] = []
        prefix: _Prefix | None = self
        while prefix is not None and prefix.step is not None:
            steps.append(prefix.step)
            prefix = prefix.before
        return Path(tuple(reversed(steps)), self.product, self.norm)


class _Search:
    """Gives one path after another, those with large partial products first."""

    def __init__(self, found: Sweep, leaf: Node, nodes: set[Node], budget: Budget) -> None:
        self.stopped: Literal["pulls", "time"] | None = None
        self.dropped = False
        """Whether beginnings of paths were let go for want of memory."""
        self._all = found.counts[leaf] <= ALL_PATHS
        self._found = found
        self._leaf = leaf
        self._nodes = nodes
        self._deadline = budget.deadline
        self._last_pull = found.replays.pulls + budget.pulls
        self._order = itertools.count()
        self._queue: list[tuple[float, int, int, _Prefix]] = []
        self._push(_Prefix(found.output, found.cotangent, _norm(found.cotangent)))

    def next_path(self) -> Path | None:
        """Return a path that was not given before; None when there are no more, or ``stopped`` says why."""
        if not self._queue:
            return None
        prefix = heapq.heappop(self._queue)[-1]
        while prefix.node is not self._leaf:
            if self._found.replays.pulls >= self._last_pull or time.monotonic() > self._deadline:
                self.stopped = "pulls" if self._found.replays.pulls >= self._last_pull else "time"
                return None
            first, *others = sorted(self._continued(prefix), key=lambda one: -one.norm)
            for other in others:
                self._push(other)
            prefix = first
        self._prune()
        return prefix.path()

    def _continued(self, prefix: _Prefix) -> list[_Prefix]:
        """Return the ways on from a prefix that lead to the leaf; there is always one."""
        node, operation = prefix.node, prefix.node.producer
        assert operation is not None  # noqa: S101 - only nodes on the way to the leaf are followed
        parts = self._found.replays.pull(operation, node.position, prefix.product)
        return [
            _Prefix(
                operation.inputs[slot], part, _norm(part), prefix.depth + 1, (operation, node.position, slot), prefix
            )
            for slot in self._found.follows.get(node, ())
            if operation.inputs[slot] in self._nodes and (part := parts[slot]) is not None
        ]

    def _push(self, prefix: _Prefix) -> None:
        # Where all are wanted the longest first, so that the queue stays short; so too among equal norms.
        rank = 0.0 if self._all else -prefix.norm
        heapq.heappush(self._queue, (rank, -prefix.depth, next(self._order), prefix))

    def _prune(self) -> None:
        """Drop the smaller half of a queue that has grown beyond its memory."""
        size = sum(one.product.numel() * one.product.element_size() for *_, one in self._queue)
        if len(self._queue) > _QUEUE_LENGTH or size > _QUEUE_BYTES:
            self._queue = heapq.nsmallest(len(self._queue) // 2, self._queue)
            self.dropped = True


def _add(listing: Listing, path: Path, limit: int) -> None:
    listing.computed += 1
    listing.total = path.contribution if listing.total is None else listing.total + path.contribution
    listing.paths.append(path)
    if len(listing.paths) > 2 * limit + 16:
        listing.paths.sort(key=lambda path: -path.norm)
        del listing.paths[limit:]


def _norm(tensor: torch.Tensor) -> float:
    value = float(torch.linalg.vector_norm(tensor.double()))
    return value if value == value else float("inf")  # noqa: PLR0124 - NaN sorts as the largest
