import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from modelwright.server.postgres import PostgresServer
from modelwright.server.process import ServerError
from tests.modelwright.server.processes import eventually, is_alive

LAUNCHER = """
import sys
from pathlib import Path
from modelwright.server.postgres import PostgresServer
server = PostgresServer(Path(sys.argv[1]))
server.start()
print(server.pid, server.url, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = PostgresServer(tmp_path_factory.mktemp("with a space") / "postgres")
    server.start()
    yield server
    server.stop()


def query(server: PostgresServer, statement: str):
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


def test_it_is_postgresql_18_with_checksums_and_utf8(server):
    assert query(server, "SELECT current_setting('server_version_num')::int / 10000") == [(18,)]
    assert query(server, "SHOW data_checksums") == [("on",)]
    assert query(server, "SHOW server_encoding") == [("UTF8",)]


def test_it_listens_on_no_network_address_and_its_socket_is_private(server):
    assert query(server, "SHOW listen_addresses") == [("",)]
    folder = Path(query(server, "SHOW unix_socket_directories")[0][0])
    assert folder.stat().st_mode & 0o077 == 0


def test_starting_twice_is_starting_once(server):
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_committed_rows_survive_a_kill_and_the_url_stays_the_same(server):
    url = server.url
    query(server, "CREATE TABLE kept (n int)")
    query(server, "INSERT INTO kept VALUES (7)")
    server.kill()
    assert not server.running
    server.start()
    assert server.url == url
    assert query(server, "SELECT n FROM kept") == [(7,)]


def test_a_stopped_server_starts_again_with_its_rows(server):
    query(server, "CREATE TABLE IF NOT EXISTS stopped (n int)")
    pid = server.pid
    server.stop()
    assert not is_alive(pid)
    server.start()
    assert query(server, "SELECT count(*) FROM stopped") == [(0,)]


def test_a_pid_file_that_names_a_stranger_does_not_prevent_the_start(server):
    server.kill()
    file = server.directory / "postmaster.pid"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    server.start()
    assert query(server, "SELECT 1") == [(1,)]


def test_the_server_dies_with_a_killed_launcher_and_the_next_start_recovers(tmp_path):
    folder = tmp_path / "postgres"
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid, url = launcher.stdout.readline().split()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()
    server = PostgresServer(folder)
    server.start()  # at once: a launcher that is started again does not wait for the old server's end
    assert eventually(lambda: not is_alive(int(pid)))
    assert query(server, "SELECT n FROM kept") == [(7,)]
    server.stop()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.txt").write_text("precious")
    with pytest.raises(ServerError, match="not empty"):
        PostgresServer(tmp_path / "postgres").start()
    assert (tmp_path / "postgres" / "thesis.txt").read_text() == "precious"


def test_a_server_that_cannot_run_says_why(tmp_path):
    server = PostgresServer(tmp_path / "postgres", settings={"shared_buffers": "many"})
    with pytest.raises(ServerError, match="shared_buffers"):
        server.start()
