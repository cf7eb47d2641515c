"""What a run will do, and when: all of it drawn from one seed before anything starts, so that a seed says it again."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass

CONTROL = {"api": 45, "preflight": 5, "scheduler": 30, "beat": 30}
"""Of 200 kills so many hit processes that own no job: the API, its fork servers, the scheduler's two processes …"""
ATTEMPTS = {"trainer": 40, "supervisor": 25, "main": 15, "fork_server": 10}
"""… and so many the four kinds of processes of a worker, at work on a job."""
_OF = sum(CONTROL.values()) + sum(ATTEMPTS.values())


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything; ``seconds`` is how long the faults are spread over, if nothing holds them up."""

    jobs: int = 50
    kills: int = 200
    redis_wipes: int = 20
    postgres_kills: int = 20
    zombies: int = 100
    seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One blow: ``after_seconds`` later than the one before in its lane, on the victim that ``pick`` (0 to 1) names.

    ``hold_seconds`` is how long a server stays away, or a zombie sleeps on after it has been replaced.
    """

    after_seconds: float
    kind: str
    pick: float
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Three lanes of faults that run beside each other."""

    seed: int
    scale: Scale
    lanes: dict[str, tuple[Fault, ...]]

    @property
    def sha256(self) -> str:
        """The checksum of the whole plan: two runs that print the same one were to do the same."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Return how many faults of each kind there are."""
        kinds = [fault.kind for lane in self.lanes.values() for fault in lane]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def make_plan(seed: int, scale: Scale) -> Plan:
    """Draw the plan of ``seed``."""
    chance = random.Random(seed)
    kills = _share(CONTROL | ATTEMPTS, scale.kills)
    control = _repeat({kind: kills[kind] for kind in CONTROL})
    attempts = [*_repeat({kind: kills[kind] for kind in ATTEMPTS}), *["zombie"] * scale.zombies]
    flushes = scale.redis_wipes // 2
    wipes = {"redis_flush": flushes, "redis_kill": scale.redis_wipes - flushes}
    servers = _repeat({**wipes, "postgres_kill": scale.postgres_kills})
    lanes = {"control": control, "attempts": attempts, "servers": servers}
    return Plan(seed, scale, {name: _lane(chance, kinds, scale.seconds) for name, kinds in lanes.items()})


def _lane(chance: random.Random, kinds: list[str], seconds: float) -> tuple[Fault, ...]:
    order = list(kinds)
    chance.shuffle(order)
    mean = seconds / max(1, len(order))
    return tuple(
        Fault(
            after_seconds=round(chance.uniform(0.2, 1.8) * mean, 3),
            kind=kind,
            pick=round(chance.random(), 6),
            hold_seconds=round(chance.uniform(0.0, 3.0), 3),
        )
        for kind in order
    )


def _share(weights: dict[str, int], total: int) -> dict[str, int]:
    """Divide ``total`` by the weights, by largest remainders, so that the parts add up."""
    exact = {kind: weight * total / _OF for kind, weight in weights.items()}
    parts = {kind: int(value) for kind, value in exact.items()}
    rest = sorted(exact, key=lambda kind: (parts[kind] - exact[kind], kind))
    for kind in rest[: total - sum(parts.values())]:
        parts[kind] += 1
    return parts


def _repeat(counts: dict[str, int]) -> list[str]:
    return [kind for kind, count in counts.items() for _ in range(count)]
