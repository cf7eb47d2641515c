"""The whole service under 200 kills, 100 zombies and 40 faults of its servers: what the command runs, as a test."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.check import report
from tests.chaos.plan import Scale
from tests.chaos.run import Options, run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(5400)]


def scale() -> Scale:
    """The full scale, but for what the environment says: ``CHAOS_JOBS=10 CHAOS_KILLS=25 …``."""
    full = asdict(Scale())
    return Scale(**{name: type(value)(os.environ.get(f"CHAOS_{name.upper()}", value)) for name, value in full.items()})


def test_no_job_is_lost_or_doubled_and_all_end_in_the_same_bits(tmp_path: Path) -> None:
    options = Options(seed=int(os.environ.get("CHAOS_SEED", "7")), scale=scale())
    file = Path(os.environ.get("CHAOS_HISTORY", tmp_path / "history.ndjson"))
    assert report(run(options, tmp_path / "service", file)) == 0
