"""The fault table of the design (reliability §5): every row, and the tests that hold it."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.stack import ROOT

ACCEPTANCE, FAULTS = "tests/acceptance/test_faults.py", "tests/faults"

TABLE: dict[int, tuple[str, list[str]]] = {
    1: (
        "kill -9 trainer mid-step",
        [
            f"{ACCEPTANCE}::test_a_killed_trainer_is_retried_from_its_checkpoint_to_the_same_final_bits",
            f"{ACCEPTANCE}::test_a_trainer_that_always_dies_ends_the_job_with_a_class_and_a_hint",
        ],
    ),
    2: (
        "kill -9 supervisor, Celery main, the whole process group",
        [
            f"{ACCEPTANCE}::test_a_killed_supervisor_takes_its_trainer_along_and_the_job_goes_on",
            f"{ACCEPTANCE}::test_a_killed_worker_leaves_no_orphan_and_another_worker_finishes_its_job",
        ],
    ),
    3: (
        "TERM to the worker",
        [f"{ACCEPTANCE}::test_a_worker_told_to_stop_checkpoints_and_another_goes_on_without_losing_a_step"],
    ),
    4: (
        "kill during a checkpoint write",
        [f"{FAULTS}/test_failpoints.py::test_the_job_succeeds_once_with_the_undisturbed_bits"],
    ),
    5: (
        "SIGSTOP supervisor, then CONT",
        [f"{FAULTS}/test_worker_faults.py::test_a_supervisor_that_froze_and_woke_writes_nothing_more"],
    ),
    6: (
        "kill between commit and doorbell; message lost; message ten times",
        [
            f"{FAULTS}/test_api_faults.py::test_a_post_whose_api_died_is_repeated_with_its_key_and_makes_one_job",
            f"{FAULTS}/test_worker_faults.py::test_a_job_whose_message_was_lost_starts_all_the_same",
            f"{FAULTS}/test_worker_faults.py::test_a_message_that_comes_ten_times_runs_the_job_once",
        ],
    ),
    7: (
        "Redis killed and empty, flushed, down, half-open, full",
        [
            f"{FAULTS}/test_redis_faults.py::test_running_jobs_go_on_and_new_ones_start",
            f"{ACCEPTANCE}::test_without_redis_a_submit_still_succeeds_and_the_job_starts_within_15_s",
        ],
    ),
    8: (
        "PostgreSQL kill -9 mid-commit",
        [
            f"{FAULTS}/test_database_faults.py"
            "::test_what_was_acknowledged_outlives_a_postgresql_that_is_killed_amid_commits"
        ],
    ),
    9: (
        "PostgreSQL down for a minute, for 20 minutes",
        [
            f"{FAULTS}/test_database_faults.py"
            "::test_training_pauses_while_postgresql_is_away_and_goes_on_with_the_same_attempt",
            f"{FAULTS}/test_database_faults.py::test_after_a_long_outage_the_trainer_is_gone_and_the_job_resumes_later",
        ],
    ),
    10: (
        "connection reset mid-query; commit of unknown outcome",
        [
            f"{FAULTS}/test_database_faults.py::test_connections_that_are_reset_or_stall_cost_nothing",
            f"{FAULTS}/test_database_faults.py"
            "::test_a_request_whose_connection_is_cut_is_answered_well_or_503_and_never_500",
        ],
    ),
    11: (
        "disk full",
        [
            f"{FAULTS}/test_storage_faults.py::test_a_full_database_rests_the_job_until_there_is_room",
            f"{FAULTS}/test_storage_faults.py::test_a_full_disk_of_the_worker_rests_the_job_too",
        ],
    ),
    12: (
        "API kill -9 during POST, during download",
        [
            f"{FAULTS}/test_api_faults.py::test_a_post_whose_api_died_is_repeated_with_its_key_and_makes_one_job",
            f"{FAULTS}/test_api_faults.py::test_a_download_whose_api_died_goes_on_where_it_stopped",
        ],
    ),
    13: (
        "chunk bit-flip, chunk row missing",
        [
            f"{FAULTS}/test_worker_faults.py::test_a_damaged_checkpoint_is_passed_over_and_stored_again",
            "tests/api/test_checkpoints.py::test_a_damaged_chunk_cuts_the_connection_and_what_came_before_is_good",
        ],
    ),
    14: (
        "out of memory: host, CUDA",
        [
            f"{ACCEPTANCE}::test_a_model_that_grows_without_end_fails_as_out_of_memory_and_the_worker_goes_on",
            "tests/worker/trainer/test_failures.py"
            "::test_out_of_memory_is_a_matter_of_resources_and_suggests_a_batch_size",
        ],
    ),
    15: (
        "loss NaN or infinite",
        [
            f"{FAULTS}/test_worker_faults.py"
            "::test_a_loss_that_is_nan_fails_at_its_step_and_the_checkpoints_before_stay",
            "tests/worker/trainer/test_failures.py::test_a_non_finite_loss_fails_at_the_exact_step",
        ],
    ),
    16: (
        "forward hangs",
        [
            f"{FAULTS}/test_worker_faults.py::test_a_trainer_that_hangs_is_killed_and_retried_to_the_same_bits",
            f"{FAULTS}/test_worker_faults.py::test_a_forward_that_does_not_come_back_ends_its_job_as_stalled",
            "tests/services/jobs/test_outcomes.py::test_a_trainer_that_hangs_twice_ends_the_job_as_stalled",
        ],
    ),
    17: ("clocks an hour wrong", [f"{FAULTS}/test_clock_faults.py::test_wrong_clocks_have_no_effect"]),
    18: (
        "several sweepers; cancel raced with claim, run, finish",
        [
            "tests/services/jobs/test_claims.py::test_many_sweepers_sweep_a_lease_once",
            f"{FAULTS}/test_worker_faults.py::test_a_supervisor_that_froze_and_woke_writes_nothing_more",
            "tests/services/jobs/test_outcomes.py"
            "::test_a_job_whose_cancel_was_requested_ends_cancelled_however_its_attempt_ends",
        ],
    ),
    19: (
        "webhook receiver down",
        [
            "tests/services/webhooks/test_delivery.py"
            "::test_a_receiver_that_was_down_gets_everything_later_in_order_with_the_same_ids",
            "tests/acceptance/test_webhooks.py"
            "::test_a_receiver_that_is_down_delays_no_job_and_gets_the_same_events_later",
        ],
    ),
    20: (
        "rolling upgrade: old worker, new API",
        [
            f"{FAULTS}/test_worker_faults.py"
            "::test_a_worker_passes_over_what_a_newer_version_queued_and_goes_on_with_the_rest"
        ],
    ),
}
"""Row → (fault, the tests that hold it)."""


def test_every_row_of_the_table_is_held_by_a_test() -> None:
    assert sorted(TABLE) == list(range(1, 21))
    assert all(tests for _, tests in TABLE.values())


@pytest.mark.parametrize("row", TABLE)
def test_the_tests_of_a_row_exist(row: int) -> None:
    for node in TABLE[row][1]:
        file, _, name = node.partition("::")
        assert name in functions(file), node


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
