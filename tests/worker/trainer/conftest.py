import pytest

from services.forkserver import ForkServer
from tests.worker.trainer.forked import PRELOAD


@pytest.fixture(scope="package")
def fork_server():
    server = ForkServer(preload=PRELOAD)
    yield server
    server.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")
