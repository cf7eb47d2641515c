"""Identifiers by the database's clock: a session asks for it once, and what it makes later sorts later."""

import time

from sqlalchemy import event, text

from services.db.clock import new_row_id
from services.identifiers import new_id

_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")


def test_a_session_asks_once_and_its_ids_lie_between_those_of_the_database(database):
    asked = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    with database.session() as session:
        before = session.scalar(_NOW)
        made = []
        for _ in range(3):
            made.append(new_row_id(session, "job"))
            time.sleep(0.005)
        after = session.scalar(_NOW)
    assert len(asked) == 3
    assert made == sorted(made)
    assert new_id("job", milliseconds=before)[:14] <= made[0][:14]
    assert made[-1][:14] <= new_id("job", milliseconds=after)[:14]
    assert len({one[:14] for one in made}) == 3
