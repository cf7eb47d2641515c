"""The arithmetic of estimates: what past jobs took decides, in proportion, and errors are told as they were."""

import pytest

from services.estimates.history import Timing
from services.estimates.model import ENOUGH, OVERHEAD_SECONDS, fit, overhead, similar, spread
from services.estimates.work import Work, work_of
from tests.worker.trainer.harness import make_job

SETUP = {"precision": "float32"}


def timing(batches, training_seconds, **changes):
    values = {
        "device": "cpu",
        "setup": SETUP,
        "batch_size": 64,
        "operations_per_sample": 1_000,
        "total_seconds": training_seconds + 0.5,
    }
    return Timing(batches=batches, training_seconds=training_seconds, **{**values, **changes})


def test_jobs_of_different_lengths_tell_what_is_fixed_and_what_a_batch_costs():
    line = fit([timing(batches, 0.4 + 0.002 * batches) for batches in (50, 500, 5_000)])
    assert (line.fixed, line.per_batch) == pytest.approx((0.4, 0.002))
    assert line.seconds(20_000) == pytest.approx(40.4)


def test_a_short_job_counts_as_much_as_a_long_one():
    line = fit([timing(100, 1.0), timing(100_000, 500.0)])
    assert line.seconds(100) == pytest.approx(1.0)
    assert line.seconds(100_000) == pytest.approx(500.0)


def test_no_line_goes_below_nothing():
    line = fit([timing(100, 0.05), timing(1_000, 5.0)])  # the first one had a faster machine
    assert line.fixed == 0
    assert line.per_batch > 0


def test_jobs_of_one_length_leave_a_little_for_the_start():
    line = fit([timing(1_000, 2.1), timing(1_000, 2.1)])
    assert line.seconds(1_000) == pytest.approx(2.1)
    assert line.seconds(2_000) == pytest.approx(4.1)
    assert line.longest == 1_000


def test_what_a_job_takes_besides_training_is_what_it_took_before():
    assert overhead([]) == OVERHEAD_SECONDS
    assert overhead([timing(1, 1.0, total_seconds=1.2), timing(1, 1.0, total_seconds=1.4)]) == pytest.approx(0.3)


def work(**changes):
    values = {"train_batches": 10, "evaluation_batches": 0, "batch_size": 64, "operations_per_sample": 1_000}
    return Work(**{**values, "setup": SETUP, **changes})


def test_similar_is_what_has_about_as_many_operations_and_what_is_far_away_is_nothing():
    near, nearer = timing(10, 1.1, operations_per_sample=4_000), timing(10, 2.1, operations_per_sample=1_000)
    assert similar([near, nearer], work(), by_batch=False) == pytest.approx([0.2, 0.05])
    assert similar([timing(10, 1.1, operations_per_sample=1_000_000)], work(), by_batch=False) == []
    assert similar([timing(10, 1.1, operations_per_sample=None)], work(), by_batch=False) == []
    assert similar([near], work(operations_per_sample=None), by_batch=False) == []
    assert similar([timing(10, 1.1, batch_size=16)], work(), by_batch=True) == pytest.approx([0.2])


def test_experience_widens_or_narrows_a_range():
    assert spread(10.0, "past_jobs", None, beyond=False) == (8.0, 13.0)
    assert spread(10.0, "past_jobs", None, beyond=True) == (4.0, 13.0)
    few, enough = ({"median": 0.1, "p90": 0.25, "n": n} for n in (ENOUGH - 1, ENOUGH))
    assert spread(10.0, "probe", few, beyond=False) == (6.0, 20.0)
    assert spread(10.0, "probe", enough, beyond=False) == (8.0, 12.5)


def test_work_counts_batches_trained_and_evaluated(tmp_path):
    job = make_job(tmp_path, epochs=3, accumulate=2, evaluate_every={"steps": 2})  # 90 rows in batches of 16, 36, 36
    found = work_of(job, operations_per_sample=7)
    assert (job["training"]["steps_per_epoch"], job["training"]["total_steps"]) == (3, 9)
    assert (found.train_batches, found.evaluation_batches) == (18, 5 * 3 + 3)
    assert found.batches == 18 + 18 / 3
    assert found.operations == 7 * 16
    cut = work_of(job, operations_per_sample=None, steps=3)
    assert (cut.train_batches, cut.evaluation_batches, cut.operations) == (6, 2 * 3 + 3, None)


def test_a_plan_whose_batch_size_is_open_has_no_known_work(tmp_path):
    assert work_of(make_job(tmp_path, data={"batch_size": "auto"}), operations_per_sample=7) is None
