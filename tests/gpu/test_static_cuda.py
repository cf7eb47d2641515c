"""Static execution on a CUDA device: inductor compiles, then no process may be started; it trains as dynamic does."""

from contextlib import closing

import pytest
import torch

from services.forkserver import ForkServer, Limits
from tests.worker.trainer.harness import assert_same_bits, make_job, read, resumed, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

MODEL = "Sequential(Linear(64, 64), LayerNorm(64), GELU(), Dropout(0.1), Linear(64, 10))"


def cuda_job(folder, **options):
    return {**make_job(folder, model=MODEL, data={"drop_last": True}, **options), "device": "cuda"}


def test_a_static_job_trains_as_a_dynamic_one(tmp_path):
    one, other = tmp_path / "dynamic", tmp_path / "static"
    one.mkdir(), other.mkdir()
    dynamic = train(cuda_job(one))
    with closing(ForkServer(preload=["worker.trainer.main"])) as server:
        job = cuda_job(other, cache=one, execution="static")
        with server.spawn("worker.trainer.main:run", job, limits=Limits(processes=True), directory=other) as child:
            events = []
            while not child.ended:
                events += child.receive(1.0)
    (said,) = [event for event in events if event["event"] == "execution"]
    assert (said["execution"], said["backend"]) == ("static", "inductor")
    losses = {}
    for event in events:
        if event["event"] == "metrics" and "train/loss" in event["series"]:
            found = event["series"]["train/loss"]
            losses |= dict(zip(found["steps"], found["values"], strict=True))
    expected = dynamic.series("train/loss")
    assert [losses[step] for step in expected] == pytest.approx(list(expected.values()), rel=1e-2)


def test_a_static_job_resumes_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.trainer.static.forbid_processes", lambda: True)  # it would hold for all later tests
    job = cuda_job(tmp_path, execution="static", checkpoints={"every": {"steps": 2}, "keep": 10})
    first, *_, last = train(job).of("checkpoint")
    again = train(resumed(job, first, tmp_path / "again"))
    assert again.of("started")[0]["resume"] == "exact"
    assert_same_bits(read(last), read(again.of("checkpoint")[-1]))
