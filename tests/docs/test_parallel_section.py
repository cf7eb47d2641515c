"""The page on training plans shows a job in two processes; it trains as the page says."""

import json
import re

import pytest

from services.forkserver import ForkServer
from services.jobs.schema import JobRequest
from tests.docs.test_training_plan import PAGE, SMALL_SPLIT, request_of
from tests.worker.trainer.forked import PRELOAD, in_processes, train_forked
from tests.worker.trainer.harness import make_job, train

(EXAMPLE,) = (json.loads(text) for text in re.findall(r"^```json parallel\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def test_the_example_in_two_processes_trains_as_one_does(tmp_path):
    request = JobRequest.model_validate(request_of(EXAMPLE))
    data = {**EXAMPLE["data"], "split": SMALL_SPLIT}
    job = make_job(tmp_path, model=request.model, data=data, **EXAMPLE["training"])
    alone = train({**job, "output": str(tmp_path / "alone")})
    server = ForkServer(preload=PRELOAD)
    try:
        together = train_forked(server, in_processes(job, request.resources.count), tmp_path / "together")
    finally:
        server.close()
    assert together.last == alone.last
    expected = list(alone.series("train/loss").values())
    assert list(together.series("train/loss").values()) == pytest.approx(expected, rel=1e-5)
