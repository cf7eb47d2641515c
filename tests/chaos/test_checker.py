"""The checker passes a sound history, and finds every kind of damage that one was doctored with."""

import copy
import json
import subprocess
import sys

import pytest

from tests.chaos.checker import check
from tests.chaos.figures import latencies, percentile, summary
from tests.stack import ROOT

COUNTS = {"train/loss": 40, "validation/loss": 2}


def sound_history() -> list[dict]:
    """A reference, and a job whose first worker was stopped and replaced, and whose second was killed."""
    scale = {"jobs": 1, "kills": 1, "redis_wipes": 0, "postgres_kills": 0, "zombies": 1}
    reference = {"event": "reference", "kind": "mlp", "sha256": "ab", "total_steps": 40, "counts": COUNTS}
    harness = [
        {"at": 0.0, "event": "run", "seed": 1, **scale},
        {"at": 1.0, **reference},
        {"at": 2.0, "event": "submit", "submission": "0", "kind": "mlp"},
        {"at": 2.2, "event": "acknowledge", "submission": "0", "job": "job_1"},
        {"at": 10.0, "event": "fault", "kind": "zombie", "pids": [11], "jobs": ["job_1"]},
        {"at": 35.0, "event": "continue", "job": "job_1", "epoch": 1, "superseded": True},
        {"at": 40.0, "event": "fault", "kind": "trainer", "pids": [13], "jobs": ["job_1"]},
        {"at": 60.0, "event": "finish", "job": "job_1", "kind": "mlp", "state": "succeeded", "error": None}
        | {"sha256": "ab", "total_steps": 40, "counts": COUNTS},
        {"at": 61.0, "event": "end"},
    ]
    facts = [
        (2.1, "inserted", {"submission": "0", "writer": "modelwright/5"}),
        (3.0, "claim", {"epoch": 1, "attempt": 1, "owner": "host/11", "writer": "modelwright/11"}),
        (4.0, "state", {"state": "running", "epoch": 1, "attempt": 1, "writer": "modelwright/11"}),
        (5.0, "write", {"series": {"train/loss": [[1, 10, 10]]}, "writer": "modelwright/11"}),
        (5.1, "checkpoint", {"step": 10, "attempt": 1, "final": False, "writer": "modelwright/11"}),
        (5.5, "write", {"series": {"train/loss": [[11, 17, 7]]}, "writer": "modelwright/11"}),
        (31.0, "state", {"state": "queued", "epoch": 1, "attempt": 1, "writer": "modelwright/9"}),
        (31.1, "claim", {"epoch": 2, "attempt": 2, "owner": "host/12", "writer": "modelwright/12"}),
        (31.2, "drop", {"series": {"train/loss": [[11, 17, 7]]}, "writer": "modelwright/12"}),
        (32.0, "state", {"state": "running", "epoch": 2, "attempt": 2, "writer": "modelwright/12"}),
        (33.0, "write", {"series": {"train/loss": [[11, 20, 10]]}, "writer": "modelwright/12"}),
        (33.1, "write", {"series": {"validation/loss": [[20, 20, 1]]}, "writer": "modelwright/12"}),
        (33.2, "checkpoint", {"step": 20, "attempt": 2, "final": False, "writer": "modelwright/12"}),
        (41.0, "state", {"state": "queued", "epoch": 2, "attempt": 2, "writer": "modelwright/12"}),
        (42.0, "claim", {"epoch": 3, "attempt": 3, "owner": "host/11", "writer": "modelwright/11"}),
        (43.0, "state", {"state": "running", "epoch": 3, "attempt": 3, "writer": "modelwright/11"}),
        (50.0, "write", {"series": {"train/loss": [[21, 40, 20]]}, "writer": "modelwright/11"}),
        (50.1, "write", {"series": {"validation/loss": [[40, 40, 1]]}, "writer": "modelwright/11"}),
        (51.0, "checkpoint", {"step": 40, "attempt": 3, "final": True, "writer": "modelwright/11"}),
        (52.0, "state", {"state": "succeeded", "epoch": 3, "attempt": 3, "writer": "modelwright/11"}),
    ]
    told = [
        {"at": at, "event": event, "job": "job_1", "sequence": number, **data}
        for number, (at, event, data) in enumerate(facts, 1)
    ]
    return sorted([*harness, *told], key=lambda record: record["at"])


def one(history: list[dict], event: str, **members) -> dict:
    return next(r for r in history if r["event"] == event and all(r.get(name) == v for name, v in members.items()))


def remove(history, event, **members):
    history.remove(one(history, event, **members))


def insert(history, after, event, **members):
    """Put a fact of job_1 behind the one with sequence ``after``."""
    place = next(index for index, record in enumerate(history) if record.get("sequence") == after)
    record = {"at": history[place]["at"] + 0.01, "event": event, "job": "job_1", "sequence": after + 0.5, **members}
    history.insert(place + 1, record)


def lose_the_job(history):
    history[:] = [record for record in history if "sequence" not in record]


def never_end(history):
    remove(history, "state", state="succeeded")


def double_the_job(history):
    fact = {**one(history, "inserted"), "job": "job_2", "sequence": 100}
    history.append(fact)


def end_twice(history):
    insert(history, 20, "state", state="cancelled", epoch=3, attempt=3, writer="modelwright/9")


def claim_while_owned(history):
    remove(history, "state", state="queued", epoch=2)


def claim_with_the_same_epoch(history):
    one(history, "claim", epoch=3)["epoch"] = 2


def write_as_a_zombie(history):
    insert(history, 11, "write", series={"validation/accuracy": [[20, 20, 1]]}, writer="modelwright/11")


def store_as_a_zombie(history):
    insert(history, 13, "checkpoint", step=17, attempt=1, final=False, writer="modelwright/11")


def store_for_an_attempt_that_is_over(history):
    insert(history, 17, "checkpoint", step=30, attempt=1, final=False, writer="modelwright/11")


def drop_as_a_zombie(history):
    insert(history, 13, "drop", series={"train/loss": [[11, 20, 10]]}, writer="modelwright/11")


def write_after_the_end(history):
    insert(history, 20, "write", series={"train/loss": [[41, 42, 2]]}, writer="modelwright/11")


def leave_a_gap(history):
    one(history, "write", series={"train/loss": [[11, 20, 10]]})["series"] = {"train/loss": [[12, 20, 9]]}


def leave_a_hole_within_a_segment(history):
    one(history, "write", series={"train/loss": [[21, 40, 20]]})["series"] = {"train/loss": [[21, 40, 19]]}


def stop_short(history):
    remove(history, "write", series={"train/loss": [[21, 40, 20]]})


def forget_to_drop(history):
    remove(history, "drop")


def lose_a_validation(history):
    remove(history, "write", series={"validation/loss": [[20, 20, 1]]})


def show_fewer_points_than_there_are(history):
    one(history, "finish")["counts"] = {**COUNTS, "train/loss": 39}


def end_in_other_bits(history):
    one(history, "finish")["sha256"] = "cd"


def give_up(history):
    one(history, "finish")["state"] = "failed"


def cut_short(history):
    remove(history, "end")


def strike_less_than_planned(history):
    remove(history, "fault", kind="trainer")


def wake_nobody(history):
    one(history, "continue")["superseded"] = False


DAMAGE = {
    lose_the_job: "lost",
    never_end: "lost",
    double_the_job: "doubled",
    end_twice: "doubled",
    claim_while_owned: "doubled",
    claim_with_the_same_epoch: "epoch",
    write_as_a_zombie: "stale_write",
    store_as_a_zombie: "stale_write",
    store_for_an_attempt_that_is_over: "stale_write",
    drop_as_a_zombie: "stale_write",
    write_after_the_end: "stale_write",
    leave_a_gap: "metric_gap",
    leave_a_hole_within_a_segment: "metric_gap",
    stop_short: "metric_gap",
    forget_to_drop: "metric_double",
    lose_a_validation: "metric_gap",
    show_fewer_points_than_there_are: "metric_gap",
    end_in_other_bits: "different_bits",
    give_up: "not_succeeded",
    cut_short: "incomplete",
    strike_less_than_planned: "incomplete",
    wake_nobody: "incomplete",
}


def test_a_sound_history_passes():
    assert check(sound_history()) == []


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_found(damage):
    history = copy.deepcopy(sound_history())
    damage(history)
    assert DAMAGE[damage] in {finding.kind for finding in check(history)}


def test_facts_are_taken_in_their_own_order_whatever_the_clock_says():
    history = sound_history()
    for record in history:
        record["at"] = 5.0
    assert check(history[::-1]) == []


def test_latencies_run_from_the_blow_to_the_queue_and_to_training():
    found = latencies(sound_history())
    assert found["noticed"] == [1.0, 21.0]
    assert found["resumed"] == [3.0, 22.0]
    disturbed = [*sound_history(), {"at": 12.0, "event": "fault", "kind": "postgres_kill"}]
    assert latencies(disturbed, alone=True) == {"noticed": [1.0], "resumed": [3.0]}
    assert (percentile([1.0, 2.0, 3.0], 0.5), percentile([1.0, 2.0, 3.0], 0.99)) == (2.0, 3.0)
    assert any(line.startswith("zombies") and " 1 woke" in line for line in summary(sound_history()))


def test_the_command_judges_a_file_and_needs_nothing_installed(tmp_path):
    doctored = sound_history()
    write_as_a_zombie(doctored)
    for name, history, status, said in (
        ("good", sound_history(), 0, "✓ lost 0"),
        ("bad", doctored, 1, "✗ stale_write"),
    ):
        file = tmp_path / f"{name}.ndjson"
        file.write_text("".join(json.dumps(record) + "\n" for record in history))
        command = [sys.executable, "-I", "-S", "-c", "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); "]
        command[-1] += "runpy.run_module('tests.chaos.check', run_name='__main__')"
        done = subprocess.run([*command, str(ROOT), str(file)], capture_output=True, text=True, check=False)
        assert (done.returncode, said in done.stdout) == (status, True), done.stdout + done.stderr
