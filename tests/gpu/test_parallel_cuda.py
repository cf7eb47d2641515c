"""Two GPUs train one job over NCCL. Needs both: no machine of ours has had them yet (decision 0021)."""

import pytest
import torch

from services.forkserver import ForkServer
from tests.worker.trainer.forked import PRELOAD, train_forked
from tests.worker.trainer.harness import assert_same_bits, make_job, read, resumed, train

MODEL = "Sequential(Linear(64, 32, bias=False), BatchNorm1d(32), ReLU(), Linear(32, 10))"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]


def on_gpus(job, count):
    return {**job, "device": "cuda", "resources": {"device": "cuda", "gpus": count, "processes": count}}


@pytest.fixture(scope="module")
def fork_server():
    server = ForkServer(preload=PRELOAD)
    yield server
    server.close()


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_two_gpus_compute_what_one_does(precision, tmp_path, fork_server):
    job = make_job(tmp_path, model=MODEL, optimizer={"type": "SGD", "lr": 0.05}, precision="float32")
    job["training"]["precision"] = precision
    alone = train_forked(fork_server, on_gpus({**job, "output": str(tmp_path / "one")}, 1), tmp_path / "alone")
    together = train_forked(fork_server, on_gpus(job, 2), tmp_path / "together")
    assert together.last == alone.last
    expected = list(alone.series("train/loss").values())
    tolerance = 1e-4 if precision == "float32" else 3e-2
    assert list(together.series("train/loss").values()) == pytest.approx(expected, rel=tolerance)


def test_two_gpus_resume_to_the_same_bits(tmp_path, fork_server):
    model = "Sequential(Linear(64, 32), BatchNorm1d(32), ReLU(), Dropout(0.3), Linear(32, 10))"
    job = on_gpus(make_job(tmp_path, model=model, checkpoints={"every": {"steps": 1}}), 2)
    whole = train_forked(fork_server, job, tmp_path / "whole").of("checkpoint")
    rest = train_forked(fork_server, resumed(job, whole[2], tmp_path / "resumed"), tmp_path / "rest")
    assert rest.events[0]["resume"] == "exact"
    assert_same_bits(read(rest.of("checkpoint")[-1]), read(whole[-1]))


def test_a_job_with_more_gpus_than_there_are_says_so(tmp_path, fork_server):
    count = torch.cuda.device_count() + 1
    line = train_forked(fork_server, on_gpus(make_job(tmp_path), count), tmp_path / "many")
    assert line.last["error"]["code"] == "device_unavailable"
    assert train(make_job(tmp_path)).last["event"] == "finished"
