import os
import subprocess
import sys

import pytest


def health(**environment: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "worker.health"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.fixture
def servers(settings):
    return {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}


def test_a_worker_whose_servers_answer_is_healthy(servers):
    status, said = health(**servers)
    assert (status, said.count("ok:")) == (0, 2)


@pytest.mark.parametrize(
    "away",
    [{"REDIS_URL": "redis://127.0.0.1:9/0"}, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}],
)
def test_a_worker_without_one_of_its_servers_is_not(servers, away):
    status, said = health(**(servers | away))
    assert (status, said.count("ok:")) == (1, 1)
