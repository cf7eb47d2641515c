"""A backup of a service at work, restored elsewhere: what was done is there, what was under way goes on."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelwright.server import backup
from modelwright.server.process import ServerError
from tests.modelwright.server.processes import eventually
from tests.modelwright.server.running import ROOT, Up

pytestmark = pytest.mark.timeout(600)


def job(epochs: int) -> dict:
    """A small job; with many epochs it is under way for a while, and checkpoints every second."""
    return {
        "model": "Sequential(Linear(64, 32), ReLU(), Dropout(0.2), Linear(32, 10))",
        "data": {"dataset": "digits", "batch_size": 64},
        "training": {"epochs": epochs, "optimizer": {"type": "Adam"}, "loss": {"type": "CrossEntropyLoss"}, "seed": 3},
        "checkpoints": {"every": {"seconds": 1}, "keep": 2},
    }


def modelwright(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "modelwright", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@dataclass
class Saved:
    """A backup, and what the service knew of itself when it was made."""

    folder: Path
    credentials: dict
    finished: str
    running: str
    queued: str
    sha256: str
    content: str
    said: str
    step: int


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Back a service up that has one job done, one running, one queued; then kill it."""
    place = tmp_path_factory.mktemp("service")
    service = Up(place / "data", "--port", "0", "--slots", "1").ready()
    with service.client() as client:
        finished = client.wait(client.submit(job(2))["id"], timeout_seconds=120)["id"]
        running, queued = client.submit(job(100_000))["id"], client.submit(job(2))["id"]
        assert eventually(lambda: list(client.checkpoints(running)), 90)
        sha256 = next(iter(client.checkpoints(finished)))["sha256"]
        content = hashlib.sha256(client.download(finished, place / "weights").read_bytes()).hexdigest()
        done = modelwright("backup", place / "saved", "--data", service.directory, "--json")
        assert done.returncode == 0, done.stderr
        under_way = client.get_job(running)
        assert under_way["state"] == "running"
    credentials = service.credentials
    service.process.kill()
    service.process.communicate()
    return Saved(
        place / "saved",
        credentials,
        finished,
        running,
        queued,
        sha256,
        content,
        done.stdout,
        under_way["progress"]["step"],
    )


def test_the_restored_service_has_what_was_done_and_goes_on_with_what_was_under_way(saved, tmp_path):
    restored = modelwright("restore", saved.folder, "--data", tmp_path / "data")
    assert (restored.returncode, restored.stdout.strip()) == (0, str(tmp_path / "data")), restored.stderr
    service = Up(tmp_path / "data", "--port", "0", "--slots", "1").ready()
    try:
        assert service.credentials["api_key"] == saved.credentials["api_key"]
        with service.client() as client:
            assert client.get_job(saved.finished)["state"] == "succeeded"
            assert next(iter(client.checkpoints(saved.finished)))["sha256"] == saved.sha256
            weights = client.download(saved.finished, tmp_path / "weights").read_bytes()
            assert hashlib.sha256(weights).hexdigest() == saved.content
            assert eventually(lambda: client.get_job(saved.running)["progress"]["step"] > saved.step, 120)
            goes_on = client.get_job(saved.running)
            client.cancel(saved.running)  # it was made to be under way for as long as anybody looks
            assert client.wait(saved.queued, timeout_seconds=120)["state"] == "succeeded"
            events = list(client.events(saved.running))
        assert (goes_on["state"], goes_on["attempt"], goes_on["resume"]) == ("running", 2, "exact")
        reasons = [event["data"].get("reason") for event in events if event["type"] == "job.state_changed"]
        assert "restored" in reasons
        assert not [event for event in events if event["type"] in ("job.lease_expired", "job.attempt_failed")]
    finally:
        service.stop()


def test_a_backup_is_for_its_owner_alone_and_says_what_is_in_it(saved):
    manifest = backup.read(saved.folder)
    assert saved.folder.stat().st_mode & 0o777 == 0o700
    assert {"files/credentials.json", "database/toc.dat"} <= set(manifest["files"])
    assert not [name for name in manifest["files"] if name.startswith(("files/postgres", "files/logs", "files/lock"))]
    assert json.loads(saved.said)["size_bytes"] == backup.size_bytes(manifest)


def test_a_damaged_backup_is_refused_before_anything_is_made(saved, tmp_path):
    copied = tmp_path / "copy"
    shutil.copytree(saved.folder, copied)
    file = next(iter(sorted((copied / "database").glob("*.gz"))))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    refused = modelwright("restore", copied, "--data", tmp_path / "data")
    assert refused.returncode == 1
    assert f"is damaged: database/{file.name} is not as it was" in " ".join(refused.stderr.split())
    file.unlink()
    with pytest.raises(ServerError, match="is missing"):
        backup.read(copied)
    assert not (tmp_path / "data").exists()


def test_neither_command_overwrites_anything(saved, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("")
    refused = modelwright("restore", saved.folder, "--data", tmp_path / "data")
    assert (refused.returncode, "is not empty" in refused.stderr) == (1, True)
    refused = modelwright("backup", tmp_path / "data", "--data", tmp_path / "elsewhere")
    assert (refused.returncode, "holds no service" in " ".join(refused.stderr.split())) == (1, True)
    with pytest.raises(ServerError, match="exists already"):
        backup.write(tmp_path / "data", database_url="postgresql://", data=tmp_path)
    with pytest.raises(ServerError, match="is not a backup"):
        backup.read(tmp_path / "data")


def test_a_backup_is_not_written_into_what_it_backs_up(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for data in (tmp_path / "data", tmp_path / "link"):
        with pytest.raises(ServerError, match="which is what is backed up"):
            backup.write(tmp_path / "data" / "saved", database_url="postgresql://", data=data)


def test_a_backup_of_servers_elsewhere_goes_into_a_database_elsewhere(saved, database_url, postgres, tmp_path):
    from modelwright.server import service_backup

    environment = {"DATABASE_URL": database_url}
    manifest = service_backup.save(tmp_path / "saved", tmp_path / "data", environment=environment)
    assert "database/toc.dat" in manifest["files"]
    with pytest.raises(ServerError, match="is not empty"):
        service_backup.restore(tmp_path / "saved", tmp_path / "data", environment=environment)
    assert not (tmp_path / "data").exists()
