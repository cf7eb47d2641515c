"""The scheduler's thread for sweeps: light until there is one, and never stopped by one of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from services.config import Settings
from services.db.engine import Database
from services.db.sweep_models import Sweep
from services.identifiers import new_id
from worker import sweeps
from worker.sweeps import SweepDriver


@pytest.mark.parametrize("module", ["worker.scheduler", "services.sweeps.service"])
def test_neither_optuna_nor_torch_is_loaded_at_the_start(environment: dict[str, str], module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps([m for m in ('torch', 'optuna') if m in sys.modules]))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.fixture
def ids(database: Database, tenant_id: str) -> list[str]:
    made = [new_id("swp") for _ in range(3)]
    with database.session() as session:
        for sweep_id in made:
            session.add(Sweep(id=sweep_id, tenant_id=tenant_id, name=None, request={}, resolved={}))
    return sorted(made)


def test_a_sweep_that_breaks_does_not_keep_the_others_waiting(
    settings: Settings, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def advance(_: object, *, sweep_id: str) -> bool:
        seen.append(sweep_id)
        if sweep_id == ids[0]:
            raise KeyError("resolved")
        return sweep_id == ids[2]

    monkeypatch.setattr(sweeps, "advance", advance)
    driver = SweepDriver(settings)
    assert driver.look() is True
    assert seen == ids


def test_the_thread_outlives_an_outage_and_is_rung(
    settings: Settings, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    looks: list[Any] = []
    later = threading.Event()

    def advance(_: object, *, sweep_id: str) -> bool:
        looks.append(sweep_id)
        if len(looks) == 1:
            raise OperationalError("SELECT", {}, Exception("away"))
        if len(looks) > 4:
            later.set()
        return False

    monkeypatch.setattr(sweeps, "advance", advance)
    monkeypatch.setattr(sweeps, "LOOK_SECONDS", 0.05)
    driver = SweepDriver(settings)
    driver.start()
    driver.ring()
    assert later.wait(20)
    driver.close()
