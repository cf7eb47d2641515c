"""`modelwright up` as users run it: a process that is started, used, disturbed and stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from modelwright.server.postgres import PostgresServer
from modelwright.server.valkey import ValkeyServer
from tests.modelwright.server.processes import eventually, is_alive
from tests.modelwright.server.running import ROOT, Up

JOB = {
    "name": "tiny",
    "model": "Sequential(Linear(64, 16), ReLU(), Linear(16, 10))",
    "data": {"dataset": "digits", "batch_size": 64},
    "training": {"epochs": 1, "optimizer": {"type": "Adam"}, "loss": {"type": "CrossEntropyLoss"}},
}


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    service = Up(tmp_path_factory.mktemp("a folder") / "data").ready()
    yield service
    if service.process.poll() is None:
        service.stop()


def test_it_is_ready_and_its_key_works(up):
    url, key = up.credentials["url"], up.credentials["api_key"]
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert httpx.get(f"{url}/v1/jobs").status_code == 401
    assert httpx.get(f"{url}/v1/jobs", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert url in up.text
    assert key not in up.text


def test_the_credentials_are_for_the_owner_alone(up):
    assert (up.directory / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert up.directory.stat().st_mode & 0o777 == 0o700


def test_nothing_listens_beyond_the_loopback_interface(up):
    for pid in [up.process.pid, *up.family()]:
        for connection in psutil.Process(pid).net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1"


def test_the_command_line_finds_the_service_and_trains(up, tmp_path):
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    environment = {**os.environ, "MODELWRIGHT_DATA_DIR": str(up.directory)}

    def run(*arguments):
        command = [sys.executable, "-m", "modelwright", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    job_id = run("submit", "job.json", "--watch")
    assert run("jobs").split("\t")[:2] == [job_id, "succeeded"]
    assert json.loads(run("show", job_id, "--json"))["name"] == "tiny"
    weights = Path(run("download", job_id, "-o", str(tmp_path / "weights.safetensors")))
    assert int.from_bytes(weights.read_bytes()[:8], "little") < weights.stat().st_size


def test_a_second_start_on_the_same_folder_is_refused_while_the_first_runs(up):
    second = Up(up.directory)
    assert second.process.wait(20) == 1
    assert re.search(rf"running on .* already \(process {up.process.pid}\)", " ".join(second.text.split()))
    assert up.is_ready()


def test_a_port_in_use_is_said_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = Up(tmp_path / "data", "--port", str(port))
        assert refused.process.wait(20) == 1
    assert f"Port {port} is in use" in refused.text
    assert not (tmp_path / "data" / "postgres").exists()


@pytest.mark.parametrize(
    ("word", "name"), [("api.main:app", "api"), ("worker.scheduler", "scheduler"), ("valkey", "Valkey")]
)
def test_a_part_that_dies_is_started_again_and_that_is_said(up, word, name):
    before = up.child(word).pid
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: f"{name} runs again" in up.text)
    assert f"{name} ended unexpectedly" in up.text
    assert up.child(word).pid != before
    assert eventually(up.is_ready, 60)


def test_a_worker_that_dies_takes_its_children_along_and_is_replaced(up):
    worker = up.child("worker")
    assert "--slots" in worker.cmdline()
    children = [child.pid for child in worker.children(recursive=True)]
    worker.kill()
    assert eventually(lambda: "worker runs again" in up.text)
    assert eventually(lambda: not any(is_alive(pid) for pid in children), 30)


@pytest.mark.timeout(400)  # three starts and two stops of everything: most of a minute alone, minutes beside others
def test_after_a_kill_the_next_start_has_yesterdays_jobs_and_key_and_after_term_too(up):
    key = up.credentials["api_key"]
    with up.client() as client:
        client.submit(JOB)
        jobs = [job["id"] for job in client.list_jobs()]
    family = up.family()
    up.process.kill()
    up.process.communicate()
    assert eventually(lambda: not any(is_alive(pid) for pid in family), 30)

    again = Up(up.directory).ready()
    with again.client() as client:
        assert [job["id"] for job in client.list_jobs()] == jobs
    assert again.credentials["api_key"] == key
    assert again.stop(signal.SIGTERM) == 0

    code = (
        "import sys; from modelwright import Client; print(*[job['id'] for job in Client().list_jobs()]); sys.exit(7)"
    )
    third = Up(up.directory, "--port", "0", "--quiet", "--", sys.executable, "-c", code)  # as long as this command
    out, _ = third.process.communicate(timeout=120)
    assert (out.split(), third.process.returncode, third.text) == (jobs, 7, "")


def test_outside_servers_are_used_and_left_alone(tmp_path):
    postgres, valkey = (
        PostgresServer(tmp_path / "elsewhere" / "postgres"),
        ValkeyServer(tmp_path / "elsewhere" / "valkey"),
    )
    postgres.start()
    valkey.start()
    try:
        service = Up(tmp_path / "data", DATABASE_URL=postgres.url, REDIS_URL=valkey.url).ready()
        with service.client() as client:
            assert client.wait(client.submit(JOB)["id"], timeout_seconds=120)["state"] == "succeeded"
        assert service.stop(signal.SIGINT) == 0
        assert postgres.running
        assert valkey.running
        assert not (tmp_path / "data" / "postgres").exists()
    finally:
        valkey.stop()
        postgres.stop()


def test_a_folder_that_cannot_be_used_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "modelwright", "up", "--data", str(tmp_path / "file" / "data"), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "cannot be used as the data folder" in " ".join(done.stderr.split())


def test_a_reader_of_its_messages_that_goes_away_does_not_keep_it_from_stopping_in_order():
    code = (
        "import os; from rich.console import Console; from modelwright.cli.up import _say\n"
        "read, write = os.pipe(); os.close(read)\n"
        "console = Console(file=os.fdopen(write, 'w')); _say(console, 'stopping'); _say(console, 'stopped')\n"
        "os._exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 7
