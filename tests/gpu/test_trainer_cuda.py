"""The trainer on a CUDA device: it learns, resumes to the bit, and does not wait for the device at every step."""

import pytest
import torch

from services.forkserver import Exit, ForkServer
from tests.worker.trainer.harness import assert_same_bits, make_job, read, resumed, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CNN = "Sequential(Conv2d(1, 16, 3, padding=1), BatchNorm2d(16), ReLU(), Dropout(0.2), Flatten(), Linear(1024, 10))"
WHOLE = {"split": {"train": 0.8, "validation": 0.1, "test": 0.1, "seed": 0}, "inputs": ["image"], "batch_size": 64}
OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"]


def cuda_job(folder, **options):
    return {**make_job(folder, model=CNN, **options), "device": "cuda"}


def test_a_network_learns_on_the_device(tmp_path):
    line = train(cuda_job(tmp_path, data=WHOLE, epochs=10))
    assert line.last["outcome"] == "succeeded"
    assert line.events[0]["environment"]["device"] == "cuda"
    assert line.of("checkpoint")[-1]["metrics"]["test/accuracy"] > 0.9


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resuming_at_any_step_gives_the_same_bits(optimizer, tmp_path):
    data = {"inputs": ["image"], "batch_size": 24}
    job = cuda_job(tmp_path, data=data, optimizer={"type": optimizer}, checkpoints={"every": {"steps": 1}})
    whole = train(job)
    expected = read(whole.of("checkpoint")[-1])
    for checkpoint in whole.of("checkpoint")[:-1]:
        rest = train(resumed(job, checkpoint, tmp_path / "resumed"))
        assert rest.events[0]["resume"] == "exact"
        assert_same_bits(read(rest.of("checkpoint")[-1]), expected)


def test_two_runs_give_the_same_bits(tmp_path):
    job = cuda_job(tmp_path, data=WHOLE, epochs=2)
    first = read(train(job).of("checkpoint")[-1])
    assert_same_bits(read(train(job).of("checkpoint")[-1]), first)


def test_a_step_never_waits_for_the_device(tmp_path):
    job = cuda_job(tmp_path, data=WHOLE, epochs=1)
    from services.modules import build
    from tests.worker.trainer.harness import Line
    from worker.trainer.assembly import assemble
    from worker.trainer.job import Job

    trainer = assemble(Job.from_payload(job), Line(), build)
    windows = trainer.windows.rest_of_epoch(0)
    trainer.train_step(next(windows))  # the first one checks its output
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            trainer.train_step(next(windows))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory_that_is_not_there_is_a_matter_of_resources(tmp_path):
    job = {**make_job(tmp_path, model="Sequential(Linear(64, 1000000), Linear(1000000, 100000), Linear(100000, 10))")}
    line = train({**job, "device": "cuda"})
    assert line.last["error"]["code"] == "out_of_memory"
    torch.cuda.empty_cache()


def test_a_checkpoint_of_the_cpu_goes_on_here_and_says_so(tmp_path):
    job = make_job(tmp_path, model=CNN, data={"inputs": ["image"]}, checkpoints={"every": {"steps": 1}})
    checkpoint = train(job).of("checkpoint")[3]
    line = train({**resumed(job, checkpoint, tmp_path / "resumed"), "device": "cuda"})
    assert line.last["outcome"] == "succeeded"
    assert line.events[0]["resume"] == "approximate"


def test_a_forked_child_uses_the_device_and_the_server_never_does(tmp_path):
    server = ForkServer(preload=["worker.trainer.main", "worker.trainer.warm:warm"])
    try:
        for _ in range(2):
            job = cuda_job(tmp_path, data=WHOLE, epochs=1)
            with server.spawn("worker.trainer.main:run", job, directory=tmp_path, log=tmp_path / "log") as child:
                events = []
                while not child.ended:
                    events += child.receive(1.0)
                assert child.wait(10) == Exit(0, None), (tmp_path / "log").read_text()
            assert events[-1]["outcome"] == "succeeded"
            assert events[0]["environment"]["device"] == "cuda"
        with open(f"/proc/{server.pid}/maps") as maps:  # noqa: PTH123 - a file of the kernel's
            assert "/dev/nvidia" not in maps.read()
    finally:
        server.close()
