"""How often the line is read: seldom enough for any number of polls, soon enough for a job that is new."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from api import board
from api.board import Board

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Line:
    as_of: datetime


class Clock:
    """Time that passes only while the line is read: two seconds each time, and when a test says so."""

    def __init__(self):
        self.now = 100.0
        self.reads = 0

    def monotonic(self):
        return self.now

    def read(self):
        self.reads += 1
        as_of = BEGIN + timedelta(seconds=self.now)
        self.now += 2.0
        return Line(as_of)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(board, "time", made)
    monkeypatch.setattr(board, "FRESH", 20)
    monkeypatch.setattr(board, "NEWS", 4)
    return made


def test_a_line_that_took_two_seconds_to_read_is_read_every_forty(clock):
    known = Board(clock.read)
    for _ in range(300):
        known.line(since=BEGIN)
        clock.now += 1
    assert clock.reads == 8


def test_for_a_job_that_is_not_in_it_yet_it_is_read_sooner_but_not_at_each_look(clock):
    known = Board(clock.read)
    for _ in range(100):
        known.line(since=BEGIN + timedelta(seconds=clock.now))
        clock.now += 1
    assert clock.reads == 13


def test_many_who_need_it_at_once_have_it_read_once(clock):
    gate, reads = threading.Event(), []

    def read():
        gate.wait(60)
        reads.append(1)
        return clock.read()

    known, found = Board(read), []
    looks = [threading.Thread(target=lambda: found.append(known.line(since=BEGIN))) for _ in range(8)]
    for look in looks:
        look.start()
    gate.set()
    for look in looks:
        look.join()
    assert len(found) == 8
    assert len(reads) == 1


def test_nobody_waits_while_it_is_read_again(clock):
    gate, begun = threading.Event(), threading.Event()
    gate.set()

    def read():
        begun.set()
        gate.wait(60)
        return clock.read()

    known = Board(read)
    old = known.line(since=BEGIN)
    clock.now += 1_000
    gate.clear()
    begun.clear()
    reader = threading.Thread(target=lambda: known.line(since=BEGIN))
    reader.start()
    assert begun.wait(60)
    assert known.line(since=BEGIN) is old
    gate.set()
    reader.join()
    assert known.line(since=BEGIN) is not old
