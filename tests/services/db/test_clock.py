"""Identifiers by the database's clock: a process asks for it once a second, and what it makes later sorts later."""

import time

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from services.db import clock as module
from services.db.clock import CLOCK, Clock, new_row_id
from services.identifiers import new_id

_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")


def prefix_at(milliseconds):
    return new_id("job", milliseconds=milliseconds)[:14]


def test_ids_lie_between_the_times_of_the_database_and_sort_as_they_are_made(database):
    made = []
    with database.session() as session:
        before = session.scalar(_NOW)
        session.info[CLOCK].read_at = float("-inf")
    for _ in range(3):
        with database.session() as session:
            made.append(new_row_id(session, "job"))
        time.sleep(0.005)
    with database.session() as session:
        after = session.scalar(_NOW)
    assert made == sorted(made)
    assert prefix_at(before - 1) <= made[0][:14]
    assert made[-1][:14] <= prefix_at(after)
    assert len({one[:14] for one in made}) == 3


def test_the_sessions_of_a_process_ask_once_in_a_while(database, monkeypatch):
    asked = []

    def note(_connection, _cursor, statement, *_):
        asked.append(statement)

    monkeypatch.setattr(module, "_GOOD_SECONDS", 600.0)  # a busy machine takes longer than one
    with database.session() as session:
        session.info[CLOCK].read_at = float("-inf")
    event.listen(database.engine, "before_cursor_execute", note)
    try:
        for _ in range(3):
            with database.session() as session:
                new_row_id(session, "job")
        assert len(asked) == 1
        monkeypatch.setattr(module, "_GOOD_SECONDS", 0.0)
        with database.session() as session:
            new_row_id(session, "job")
        assert len(asked) == 2
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def test_a_session_of_no_database_of_ours_asks_for_itself(database):
    with Session(database.engine) as session:
        before = session.scalar(_NOW)
        assert prefix_at(before - 1) <= new_row_id(session, "job")[:14] <= prefix_at(session.scalar(_NOW))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(100.05, 100.0), (100.3, 100.2), (99.7, 99.7)],
    ids=["an answer that was late", "a clock set forward", "a clock set back"],
)
def test_a_difference_lies_between_question_and_answer_and_is_kept_where_it_may_be(monkeypatch, answer, expected):
    times = iter([0.0, 0.1, 0.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    clock = Clock()
    clock.set(100.0, asked_at=0.0)
    clock.set(answer, asked_at=0.0)
    assert clock.milliseconds() == pytest.approx(expected * 1000, abs=1)
