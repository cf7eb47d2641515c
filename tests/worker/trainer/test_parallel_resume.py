"""A job in several processes, stopped anywhere and resumed in as many, ends in the same bits."""

import pytest

from tests.worker.trainer.forked import Forked, in_processes, train_forked
from tests.worker.trainer.harness import assert_same_bits, make_job, read, resumed, train

EVERY_STEP = {"every": {"steps": 1}}
BATCHES = {"batch_size": 24}
NORMED = "Sequential(Linear(64, 8), BatchNorm1d(8), ReLU(), Dropout(0.3), Linear(8, 10))"
COUNTING = {  # a buffer that follows the rows, and random numbers that are not dropout's
    "modules": {
        "Counting": {
            "init": [{"head": "Linear(64, 10)"}, {"seen": {"buffer": "torch.zeros(())"}}],
            "forward": [
                {"if": "self.training", "then": ["self.seen = self.seen + x.mean()", "x = x + torch.rand_like(x)"]},
                "return self.head(x) * (1 + self.seen)",
            ],
        }
    },
    "model": "Counting()",
}
PLANS = {
    "everything": {
        "model": NORMED,
        "optimizer": {"type": "NAdam", "groups": [{"match": "*.bias", "lr": 0.1}]},
        "accumulate": 2,
        "steps": 6,
        "epochs": None,
        "gradient_clip": {"norm": 1.0},
        "ema": {"decay": 0.5},
        "early_stopping": {"patience": 100, "restore_best": True},
        "scheduler": {"type": "ReduceLROnPlateau", "patience": 0, "threshold": 1.0},
        "evaluate_every": {"steps": 2},
    },
    "three processes": {"model": COUNTING, "optimizer": {"type": "Adam"}, "processes": 3, "epochs": 1},
}


def final(line):
    assert line.last["event"] == "finished", line.last
    (checkpoint,) = (event for event in line.of("checkpoint") if event["final"])
    return checkpoint


@pytest.mark.parametrize("name", PLANS)
def test_resuming_at_any_step_gives_the_same_bits(name, tmp_path, cache, fork_server):
    plan = {**PLANS[name]}
    count = plan.pop("processes", 2)
    job = in_processes(make_job(tmp_path, checkpoints=EVERY_STEP, data=BATCHES, cache=cache, **plan), count)
    whole = train_forked(fork_server, job, tmp_path / "whole")
    expected, checkpoints = read(final(whole)), whole.of("checkpoint")
    assert [event["step"] for event in checkpoints] == list(range(1, whole.last["step"] + 1))
    assert len({str(one) for one in [expected[2]["state"]["random"], *expected[2]["state"]["others"]]}) == count
    for checkpoint in checkpoints[:-1]:
        rest = train_forked(fork_server, resumed(job, checkpoint, tmp_path / "resumed"), tmp_path / "rest")
        assert rest.events[0]["resume"] == "exact"
        assert_same_bits(read(final(rest)), expected)


def test_a_pause_or_a_kill_loses_nothing(tmp_path, cache, fork_server):
    def job(output):
        made = make_job(tmp_path, model=NORMED, checkpoints={"every": {"steps": 20}}, cache=cache, epochs=15)
        return in_processes({**made, "output": str(tmp_path / output)}, 2)

    expected = read(final(train_forked(fork_server, job("whole"), tmp_path / "whole")))
    paused = Forked(fork_server, job("paused"), tmp_path / "paused")
    paused.until(lambda: paused.of("checkpoint"))
    paused.child.send({"command": "pause"})
    paused.finish()
    assert paused.last["outcome"] == "paused"
    killed = Forked(fork_server, resumed(job("killed"), paused.of("checkpoint")[-1], tmp_path / "killed"), tmp_path)
    killed.until(lambda: killed.of("checkpoint"))
    killed.child.kill()
    killed.finish()
    last = [*paused.of("checkpoint"), *killed.of("checkpoint")][-1]
    rest = train_forked(fork_server, resumed(job("rest"), last, tmp_path / "rest"), tmp_path / "rest")
    assert_same_bits(read(final(rest)), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_a_resume_with_another_number_of_processes_is_approximate_and_says_why(count, tmp_path, cache, fork_server):
    job = in_processes(make_job(tmp_path, model=NORMED, checkpoints=EVERY_STEP, data=BATCHES, cache=cache), 2)
    checkpoint = train_forked(fork_server, job, tmp_path / "two").of("checkpoint")[2]
    other = in_processes(resumed(job, checkpoint, tmp_path / "other"), count)
    line = train(other) if count == 1 else train_forked(fork_server, other, tmp_path / "three")
    started = line.of("started")[0]
    assert (started["resume"], started["resumed_from_step"]) == ("approximate", 3)
    assert started["differences"] == [f"processes: 2 then, {count} now"]
    assert line.last["outcome"] == "succeeded"
