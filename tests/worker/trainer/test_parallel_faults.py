"""One process of a job ends, and all of them do: at once, and with the reason."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.worker.trainer.forked import Forked, in_processes
from tests.worker.trainer.harness import make_job

SLOW = {  # steps of seconds, far from any sum that would notice who is missing
    "modules": {
        "Slow": {
            "init": [{"head": "Linear(64, 10)"}],
            "forward": [
                "i = 0",
                {"while": "i < 40000", "at_most": 40000, "do": ["x = torch.tanh(x)", "i = i + 1"]},
                "return self.head(x)",
            ],
        }
    },
    "model": "Slow()",
}
PICKY = {  # a row of the second batch, in the second process's share, has no place in the table
    "modules": {
        "Picky": {
            "init": [{"table": "Embedding(14, 10)"}],
            "forward": ["return self.table((x[:, 63] * 16).long())"],
        }
    },
    "model": "Picky()",
}


def start(server, job, folder, count=2):
    return Forked(server, in_processes(job, count), folder)


def family(pid):
    """Return the process ids of a group that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[2]) == pid and fields[0] not in "ZX":
            found.append(int(entry.name))
    return sorted(found)


def filters(pid):
    """Return how many system call filters a process is under: one from its birth, one since it knows the others."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Seccomp_filters"))


def ended_within(pid, seconds):
    deadline = time.monotonic() + seconds
    while family(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not family(pid)


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_when_one_process_is_killed_all_are_gone(victim, tmp_path, cache, fork_server):
    line = start(fork_server, make_job(tmp_path, cache=cache, epochs=100_000), tmp_path, count=3)
    line.until(lambda: line.of("metrics"))
    processes = family(line.child.pid)
    assert len(processes) == 3
    assert {filters(pid) for pid in processes} == {2}
    os.kill(processes[victim], signal.SIGKILL)
    assert ended_within(line.child.pid, 2.0), line.log.read_text()
    line.finish()
    if victim == 0:
        assert line.exit.signal == signal.SIGKILL
        return
    error = line.last["error"]
    assert (error["code"], error["class"], error["retryable"]) == ("trainer_died", "infrastructure", True)
    assert f"Process {victim + 1} of 3" in error["message"]
    assert "signal 9" in error["message"]


def test_a_death_is_noticed_while_the_first_process_computes(tmp_path, cache, fork_server):
    line = start(fork_server, make_job(tmp_path, model=SLOW, cache=cache, epochs=1), tmp_path)
    line.until(lambda: line.of("phase")[-1:] and line.of("phase")[-1]["phase"] == "training")
    os.kill(family(line.child.pid)[1], signal.SIGKILL)
    assert ended_within(line.child.pid, 2.0), line.log.read_text()
    line.finish()
    assert line.last["error"]["code"] == "trainer_died"


def test_when_the_owner_lets_go_all_are_gone(tmp_path, cache, fork_server):
    line = start(fork_server, make_job(tmp_path, cache=cache, epochs=100_000), tmp_path)
    line.until(lambda: line.of("metrics"))
    line.child.close()
    assert ended_within(line.child.pid, 2.0)


def test_a_failure_in_another_process_is_the_job_s_failure(tmp_path, cache, fork_server):
    data = {"batch_size": 45, "shuffle": False}
    line = start(fork_server, make_job(tmp_path, model=PICKY, cache=cache, epochs=1, data=data), tmp_path).finish()
    error = line.last["error"]
    assert (error["code"], error["class"], error["retryable"]) == ("index_out_of_range", "user", False)
    assert "layer `table`" in error["message"]
    assert line.last["step"] == 1
    assert line.exit.code == 1
    assert ended_within(line.child.pid, 2.0)


def test_a_cancel_stops_all_at_the_same_step(tmp_path, cache, fork_server):
    line = start(fork_server, make_job(tmp_path, cache=cache, epochs=100_000), tmp_path)
    line.until(lambda: line.of("metrics"))
    line.child.send({"command": "cancel"})
    line.finish(10)
    assert line.last["outcome"] == "cancelled"
    assert line.of("checkpoint")[-1]["step"] == line.last["step"]
    assert line.exit.code == 0
