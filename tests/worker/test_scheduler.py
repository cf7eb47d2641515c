"""The scheduler's two processes live and die together."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.stack import Stack, family, until


@pytest.fixture
def stack(environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    made = Stack(environment, tmp_path / "logs")
    try:
        yield made
    finally:
        made.stop()


def test_a_scheduler_whose_beat_died_ends_so_that_both_are_started_again(stack: Stack) -> None:
    scheduler = stack.start_scheduler()

    found: list[psutil.Process] = []

    def has_beat() -> bool:
        """A child that is about to become the resource tracker looks like beat for a moment: look twice."""
        before, found[:] = [*found], _beat(scheduler.pid)
        return bool(found) and found == before

    until(has_beat, seconds=60, what=stack.logs)
    found[0].kill()
    until(lambda: scheduler.poll() is not None, seconds=60, what=stack.logs)
    assert "beat has died" in stack.logs()


def _beat(pid: int) -> list[psutil.Process]:
    ours = [member for member in family(pid)[1:] if member.ppid() == pid]
    return [member for member in ours if "resource_tracker" not in " ".join(member.cmdline())]
