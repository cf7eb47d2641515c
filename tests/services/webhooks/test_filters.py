"""The filters name every event that there is."""

import re
from pathlib import Path

from services.webhooks.filters import FILTERS, JOB_EVENTS

ROOT = Path(__file__).parents[3]


def test_every_event_that_the_code_writes_can_be_asked_for():
    written = set()
    for package in ("services", "worker"):
        for file in (ROOT / package).rglob("*.py"):
            written |= set(
                re.findall(r'add_event\(\s*session,\s*\w+,\s*"(job\.\w+)"', file.read_text(encoding="utf-8"))
            )
    assert written == set(JOB_EVENTS)


def test_each_filter_is_listed_once():
    assert len(set(FILTERS)) == len(FILTERS)
