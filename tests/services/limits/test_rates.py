"""Counting requests: exact within a process, together over several, without Redis each for itself."""

import math
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import RateLimited
from services.limits.ledger import Ledger
from services.limits.rates import Rates


class Clock:
    def __init__(self, seconds=600.0):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def taken(rates, count, limit, tenant="a"):
    """How many of so many requests are let in."""
    let_in = 0
    for _ in range(count):
        try:
            rates.take(tenant, limit)
        except RateLimited:
            continue
        let_in += 1
    return let_in


def test_a_tenant_has_its_limit_and_not_one_more_and_others_have_theirs(clock):
    rates = Rates(clock=clock, offset_seconds=0)
    assert taken(rates, 15, 10) == 10
    assert taken(rates, 15, 10, "b") == 10


def test_what_is_left_and_when_it_is_whole_again_is_said(clock):
    rates = Rates(clock=clock, offset_seconds=0)
    clock.seconds += 20
    first, second = rates.take("a", 10), rates.take("a", 10)
    assert (first.limit, first.remaining, second.remaining) == (10, 9, 8)
    assert first.reset_seconds == 40


def test_no_minute_has_more_than_the_limit_wherever_it_begins(clock):
    """A burst at the end of one minute and at the beginning of the next is what counting by the minute lets through."""
    rates = Rates(clock=clock, offset_seconds=0)
    clock.seconds += 59
    assert taken(rates, 100, 60) == 60
    clock.seconds += 2
    assert taken(rates, 100, 60) == 1
    clock.seconds += 30
    assert taken(rates, 100, 60) == pytest.approx(30, abs=1)


def test_what_is_refused_does_not_count(clock):
    rates = Rates(clock=clock, offset_seconds=0)
    taken(rates, 10_000, 10)
    clock.seconds += 121
    assert taken(rates, 10, 10) == 10


@given(st.integers(1, 200), st.integers(0, 400), st.floats(0, 59.9))
def test_whoever_waits_as_long_as_told_is_let_in(limit, before, second):
    clock = Clock(600.0 + second)
    rates = Rates(clock=clock, offset_seconds=0)
    taken(rates, before, limit)
    clock.seconds += 30
    while taken(rates, 1, limit):
        pass
    with pytest.raises(RateLimited) as refused:
        rates.take("a", limit)
    assert refused.value.retry_after_seconds == math.ceil(refused.value.retry_after_seconds) >= 1
    clock.seconds += refused.value.retry_after_seconds
    assert rates.take("a", limit)


def test_a_limit_of_nothing_lets_nobody_in(clock):
    with pytest.raises(RateLimited) as refused:
        Rates(clock=clock, offset_seconds=0).take("a", 0)
    assert refused.value.retry_after_seconds == 60


@pytest.fixture
def ledger(redis_url):
    opened = Ledger(redis_url)
    yield opened
    opened.close()


def exchange(rates, ledger):
    answer = ledger.exchange(rates.send())
    rates.learn(*answer) if answer else rates.keep()
    return answer is not None


def test_several_processes_have_one_limit_together(ledger, tenant_name):
    first, second = Rates(), Rates()
    for rates in (first, second):
        exchange(rates, ledger)
    assert taken(first, 60, 100, tenant_name) == 60
    assert taken(second, 1, 100, tenant_name) == 1  # so that it knows of this tenant
    for rates in (first, second):
        exchange(rates, ledger)
    assert taken(second, 100, 100, tenant_name) == 39
    exchange(second, ledger)
    exchange(first, ledger)
    assert taken(first, 10, 100, tenant_name) == 0


def test_a_request_counts_while_its_count_is_on_its_way(clock):
    rates = Rates(clock=clock, offset_seconds=0)
    assert taken(rates, 8, 10) == 8
    rates.send()
    assert taken(rates, 10, 10) == 2


def test_windows_are_those_of_the_clock_of_redis(ledger, tenant_name):
    """A machine whose clock is an hour ahead counts in the same minutes as the others."""
    ahead, right = Rates(offset_seconds=0), Rates()
    ahead.take("someone", 10)
    for rates in (ahead, right):
        rates.take(tenant_name, 10)
        exchange(rates, ledger)
    taken(ahead, 5, 10, tenant_name)
    exchange(ahead, ledger)
    exchange(right, ledger)
    assert taken(right, 10, 10, tenant_name) in (3, 4)  # its own first one may lie in the minute before


def test_without_redis_each_counts_for_itself_and_it_is_said_once(clock, caplog):
    ledger, rates = Ledger("redis://127.0.0.1:1"), Rates(clock=clock, offset_seconds=0)
    for _ in range(3):
        assert taken(rates, 2, 10) == 2
        assert not exchange(rates, ledger)
    assert taken(rates, 10, 10) == 4
    assert len([one for one in caplog.records if "for itself" in one.message]) == 1


def test_counts_of_past_minutes_are_forgotten(clock):
    rates = Rates(clock=clock, offset_seconds=0)
    for number in range(100):
        rates.take(f"tenant {number}", 10)
    clock.seconds += 200
    rates.send()
    assert not rates._counts


@pytest.fixture
def tenant_name():
    return f"ten_{uuid.uuid4().hex}"
