"""Whoever reaches for one job at the same time: it ends once."""

import pytest

from services.db.engine import Database
from tests.chaos.races import race


@pytest.mark.parametrize("times", [200, pytest.param(1000, marks=[pytest.mark.chaos, pytest.mark.timeout(900)])])
def test_a_cancel_that_races_claim_run_and_finish_leaves_one_end(
    database: Database, tenant_id: str, times: int
) -> None:
    ends = race(database, tenant_id, times=times)
    print(f"{times} races: {dict(ends)}")
    assert sum(ends.values()) == times
    assert any(end.startswith("cancelled") for end in ends)
    assert any(end.startswith("succeeded") for end in ends)
