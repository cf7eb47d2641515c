"""A seed is a run: the same faults, on the same kinds of victims, at the same moments."""

from tests.chaos.plan import Scale, make_plan


def test_a_seed_makes_one_plan_and_another_seed_another():
    assert make_plan(7, Scale()) == make_plan(7, Scale())
    assert make_plan(7, Scale()).sha256 == make_plan(7, Scale()).sha256 != make_plan(8, Scale()).sha256


def test_the_full_plan_is_what_is_promised():
    counts = make_plan(7, Scale()).counts()
    servers = {"postgres_kill": 20, "redis_flush": 10, "redis_kill": 10}
    kills = {kind: count for kind, count in counts.items() if kind not in {*servers, "zombie"}}
    assert sum(kills.values()) == 200
    assert set(kills) == {"api", "preflight", "scheduler", "beat", "trainer", "supervisor", "main", "fork_server"}
    assert {kind: counts[kind] for kind in servers} == servers
    assert counts["zombie"] == 100


def test_a_smaller_plan_keeps_its_numbers_to_the_last_one():
    for kills in (0, 1, 13, 57):
        scale = Scale(kills=kills, redis_wipes=3, postgres_kills=1, zombies=2)
        counts = make_plan(1, scale).counts()
        assert sum(counts.values()) == kills + 6


def test_faults_are_spread_over_the_seconds_asked_for():
    for lane in make_plan(7, Scale(seconds=600)).lanes.values():
        assert all(fault.after_seconds > 0 for fault in lane)
        assert 500 < sum(fault.after_seconds for fault in lane) < 720
