"""Requests a day: what processes counted is added up, whoever comes first."""

import threading

from services.usage.requests import Tally, add_requests, requests_of


def test_counts_of_many_processes_add_up(database, tenant_id):
    def add():
        tally = Tally()
        tally.requests[tenant_id] += 5
        tally.refused[tenant_id] += 2
        with database.session() as session:
            add_requests(session, tally)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read_session() as session:
        found = requests_of(session, tenant_id=tenant_id)
    assert found == {name: {"requests": 40, "refused": 16} for name in ("today", "last_30_days")}


def test_what_could_not_be_stored_is_counted_with_what_comes():
    first, second = Tally(), Tally()
    first.requests["a"] += 1
    second.requests["a"] += 2
    second.refused["b"] += 1
    first.add(second)
    assert (first.requests["a"], first.refused["b"]) == (3, 1)
