"""P8: bytes stored for ten checkpoints of a model of which nine tenths are frozen, against ten full copies.

    python -m benchmarks.chunks [--checkpoints 10]

Each model is trained by the trainer itself on digits, a checkpoint an epoch; each checkpoint goes through the service's
own writer into PostgreSQL. *Stored* are the bytes of all chunks, *full copies* those of all files. *Floor* is what no
store that keeps tensors as they are can do without: the first checkpoint, and of each later one what training moved.
An optimizer with state (Adam's two moments) moves two more tensors for each trained one, in both columns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from sqlalchemy import text

from modelwright.server.postgres import PostgresServer
from services.checkpoints.writer import Snapshot, store
from services.db.engine import Database
from services.db.migrate import migrate
from services.db.models import Tenant
from services.identifiers import new_id
from services.jobs.claims import Claim
from tests.factories import add_job, claim
from tests.worker.trainer.harness import make_job, train

_BLOCK = "Linear(64, 64), LayerNorm(64), GELU()"
MODELS = {
    "three large layers": (
        "Sequential(Linear(64, 900), ReLU(), Linear(900, 900), ReLU(), Linear(900, 100), Linear(100, 10))",
        ["0.*", "2.*"],
    ),
    "forty small blocks": (
        f"Sequential(Sequential({', '.join([_BLOCK] * 40)}), Linear(64, 256), ReLU(), Linear(256, 10))",
        ["0.*"],
    ),
}
OPTIMIZERS: dict[str, dict[str, Any]] = {"SGD": {"type": "SGD", "lr": 0.1}, "Adam": {"type": "Adam"}}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of all checkpoints of a job together."""

    frozen_share: float
    copies: int
    stored: int
    floor: int
    rows: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=10)
    count = parser.parse_args().checkpoints
    print(f"{count} checkpoints of a model of which nine tenths are frozen (P8): goal stored ÷ copies ≤ 0.2\n")
    print(
        f"{'':28}{'frozen':>8}{'full copies':>13}{'stored':>10}{'rows':>9}{'floor ÷ copies':>16}{'stored ÷ copies':>17}"
    )
    with database() as opened:
        for name, (model, freeze) in MODELS.items():
            for optimizer, arguments in OPTIMIZERS.items():
                found = measure(opened, model, freeze, arguments, count)
                copies, stored, rows = (f"{size / 1024:.0f} K" for size in (found.copies, found.stored, found.rows))
                print(
                    f"{name + ', ' + optimizer:28}{found.frozen_share:>8.0%}{copies:>13}{stored:>10}{rows:>9}"
                    f"{found.floor / found.copies:>16.3f}{found.stored / found.copies:>17.3f}"
                )


@contextmanager
def database() -> Iterator[Database]:
    """A database of our own, migrated."""
    with tempfile.TemporaryDirectory(prefix="modelwright-bench-") as name:
        server = PostgresServer(Path(name))
        server.start()
        url = server.url.replace("postgresql://", "postgresql+psycopg://", 1)
        migrate(url)
        opened = Database(url)
        try:
            yield opened
        finally:
            opened.close()
            server.stop()


def measure(database: Database, model: str, freeze: list[str], optimizer: dict[str, Any], count: int) -> Sizes:
    """Train, store every checkpoint, and count."""
    owner = new_claim(database)
    with tempfile.TemporaryDirectory() as folder:
        policy = {"every": {"epochs": 1}, "keep": count}
        plan = {"epochs": count, "optimizer": optimizer, "freeze": freeze}
        line = train(make_job(folder, model=model, checkpoints=policy, **plan))
        made = line.of("checkpoint")
        assert len(made) == count
        for event in made:
            store(database, owner, _snapshot(event), keep=count)
        directories = [Path(event["directory"]) for event in made]
        copies = sum(file.stat().st_size for folder in directories for file in folder.iterdir())
        floor, share = _floor(directories)
    return Sizes(share, copies, _stored(database, owner), floor, _rows(database, owner))


def new_claim(database: Database) -> Claim:
    """Return the claim on a job of a new tenant; those of before have ended."""
    tenant_id = new_id("ten")
    with database.session() as session:
        session.execute(text("UPDATE job SET state = 'cancelled', lease_expires_at = NULL"))
        session.add(Tenant(id=tenant_id, name=tenant_id))
    add_job(database, tenant_id)
    return claim(database)


def _snapshot(event: dict[str, Any]) -> Snapshot:
    said = {name: event[name] for name in ("step", "epoch", "final", "metrics")}
    return Snapshot(directory=Path(event["directory"]), files=tuple(event["files"].values()), **said)


def _floor(directories: list[Path]) -> tuple[int, float]:
    """Return the bytes of the tensors that differ, and which share of the weights did not change from first to last."""
    seen: dict[str, list[np.ndarray]] = {}
    floor = 0
    for directory in directories:
        for file in directory.glob("*.safetensors"):
            for name, tensor in load_file(file).items():
                known = seen.setdefault(f"{file.name}/{name}", [])
                if not any(np.array_equal(tensor, one) for one in known):
                    floor += tensor.nbytes
                    known.append(tensor)
    weights = {name: versions for name, versions in seen.items() if name.startswith("weights")}
    total = sum(versions[0].nbytes for versions in weights.values())
    return floor, sum(versions[0].nbytes for versions in weights.values() if len(versions) == 1) / total


def _stored(database: Database, owner: Claim) -> int:
    with database.read_session() as session:
        query = text("SELECT sum(length(data)) FROM chunk WHERE tenant_id = :tenant")
        return int(session.scalar(query, {"tenant": owner.tenant_id}) or 0)


def _rows(database: Database, owner: Claim) -> int:
    """Return the bytes of the rows that say where chunks lie, without indexes."""
    with database.read_session() as session:
        query = text("SELECT sum(pg_column_size(c.*)) FROM checkpoint_chunk c WHERE tenant_id = :tenant")
        return int(session.scalar(query, {"tenant": owner.tenant_id}) or 0)


if __name__ == "__main__":
    main()
