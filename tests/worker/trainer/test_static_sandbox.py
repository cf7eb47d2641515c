"""A static job inside the walls that a worker puts round every trainer: no process, no network, little memory."""

from contextlib import closing

from services.forkserver import Exit, ForkServer, Limits
from tests.worker.trainer.harness import make_job

MODEL = "Sequential(Linear(64, 16), ReLU(), Linear(16, 10))"


def test_a_static_job_trains_inside_the_walls(tmp_path):
    job = make_job(tmp_path, model=MODEL, data={"drop_last": True}, epochs=1, execution="static")
    limits = Limits(memory_bytes=4 << 30, open_files=1024)
    with (
        closing(ForkServer(preload=["worker.trainer.main"])) as server,
        server.spawn("worker.trainer.main:run", job, limits=limits, directory=tmp_path) as child,
    ):
        events = []
        while not child.ended:
            events += child.receive(1.0)
        assert child.wait(10) == Exit(0, None)
    (said,) = [event for event in events if event["event"] == "execution"]
    assert (said["execution"], said["backend"], said["max_abs_difference"]) == ("static", "eager", 0.0)
    assert {"no_new_privs"} <= set(next(event for event in events if event["event"] == "started")["isolation"])
    assert events[-1]["outcome"] == "succeeded"
