"""A forked child starts clean and walled in, says how it ended, and never outlives its owner."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from services.errors import Unavailable
from services.forkserver import Exit, ForkServer, Limits

TARGETS = "tests.services.forkserver.targets"


@pytest.fixture(scope="module")
def server():
    server = ForkServer(preload=["fractions"], environment={"EXTRA": "yes"})
    yield server
    server.close()


def run(server, target, payload=None, **options):
    with server.spawn(f"{TARGETS}:{target}", payload or {}, **options) as child:
        events = collect(child)
        return events, child.wait(10)


def collect(child, timeout_seconds=20.0):
    events, deadline = [], time.monotonic() + timeout_seconds
    while not child.ended and time.monotonic() < deadline:
        events += child.receive(0.2)
    return events


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition, timeout_seconds=10.0):
    deadline = time.monotonic() + timeout_seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_child_gets_its_payload_and_its_exit_code_is_reported(server):
    events, ending = run(server, "echo", {"text": "ü\n", "nan": float("inf"), "code": 7})
    assert events[0]["echo"] == {"text": "ü\n", "nan": float("inf"), "code": 7}
    assert ending == Exit(code=7, signal=None)


def test_commands_and_events_cross_in_both_directions(server):
    with server.spawn(f"{TARGETS}:answer_commands", {}) as child:
        child.send({"number": 1})
        child.send({"stop": True})
        assert collect(child) == [{"answer": {"number": 1}}, {"answer": {"stop": True}}]
        assert child.wait(5) == Exit(0, None)
        child.send({"too": "late"})


def test_receive_returns_nothing_on_timeout_while_the_child_runs(server):
    with server.spawn(f"{TARGETS}:answer_commands", {}) as child:
        assert child.receive(0.01) == []
        assert not child.ended
        assert child.wait(0.01) is None


def test_a_payload_of_a_megabyte_and_many_events_arrive_whole(server):
    events, _ = run(server, "echo", {"text": "x" * (1 << 20)})
    assert len(events[0]["echo"]["text"]) == 1 << 20
    events, _ = run(server, "emit_many", {"count": 20_000})
    assert [event["number"] for event in events] == list(range(20_000))


@pytest.mark.parametrize(("target", "number"), [("crash", signal.SIGSEGV), ("abort", signal.SIGABRT)])
def test_a_crash_is_reported_with_its_signal(server, target, number):
    assert run(server, target)[1] == Exit(code=None, signal=number)


def test_a_killed_child_is_reported_with_its_signal_even_when_paused(server):
    with server.spawn(f"{TARGETS}:sleep", {}) as child:
        child.receive(10)
        child.pause()
        assert wait_until(lambda: " T " in Path(f"/proc/{child.pid}/stat").read_text())
        child.kill()
        assert child.wait(10) == Exit(None, signal.SIGKILL)


def test_a_paused_child_goes_on_after_resume(server):
    with server.spawn(f"{TARGETS}:answer_commands", {}) as child:
        child.pause()
        child.send({"stop": True})
        assert child.receive(0.1) == []
        child.resume()
        assert collect(child) == [{"answer": {"stop": True}}]


def test_an_exception_goes_to_the_log_and_not_to_the_channel(server, tmp_path):
    events, ending = run(server, "fail", log=tmp_path / "log")
    assert (events, ending) == ([], Exit(1, None))
    text = (tmp_path / "log").read_text()
    assert "a line on stdout" in text
    assert "RuntimeError: a traceback in the log" in text


def test_an_unknown_target_ends_the_child_and_not_the_server(server):
    pid = server.pid
    with server.spawn("no.such:thing", {}) as child:
        assert child.wait(10) == Exit(1, None)
    assert run(server, "echo")[1] == Exit(0, None)
    assert server.pid == pid


def test_garbage_from_a_child_is_dropped_and_counted(server):
    with server.spawn(f"{TARGETS}:emit_garbage", {}) as child:
        assert collect(child) == [{"still": "here"}]
        assert child.garbage_lines == 5


def test_a_child_that_sends_an_endless_line_is_killed(server):
    with server.spawn(f"{TARGETS}:endless_line", {}) as child:
        collect(child)
        assert child.ended
        assert child.wait(10) == Exit(None, signal.SIGKILL)


def test_a_child_starts_with_three_streams_one_channel_and_one_thread(server, tmp_path):
    (seen,), _ = run(server, "describe", directory=tmp_path)
    assert seen["fds"] == [0, 1, 2, 3]
    assert seen["threads"] == 1
    assert seen["cwd"] == str(tmp_path.resolve())
    assert seen["session"] == seen["pid"]
    assert seen["modules"] == ["fractions"]
    assert "NoNewPrivs:\t1" in seen["status"]


def test_no_credential_reaches_the_environment_of_server_or_child(monkeypatch):
    secrets = {
        "DATABASE_URL": "postgresql://u:hunter2@h/d",
        "REDIS_URL": "redis://:hunter2@h",
        "AWS_SESSION_TOKEN": "hunter2",
        "SOME_API_KEY": "hunter2",
        "MY_PASSWORD": "hunter2",
        "UNHEARD_OF": "hunter2",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    server = ForkServer(preload=[], environment={"EXTRA": "yes"})
    try:
        (seen,), _ = run(server, "describe")
        server_environment = Path(f"/proc/{server.pid}/environ").read_text()
    finally:
        server.close()
    assert "hunter2" not in repr(seen["environment"]) + seen["initial_environment"] + server_environment
    assert seen["environment"]["EXTRA"] == "yes"
    assert seen["environment"]["OMP_NUM_THREADS"] == "1"


def test_a_child_can_neither_reach_out_nor_grow_beyond_its_limits(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        payload = {"port": listener.getsockname()[1], "owner": os.getpid()}
        limits = Limits(memory_bytes=1 << 30, open_files=64, file_bytes=1 << 20)
        (event,), _ = run(server, "try_to_escape", payload, limits=limits, directory=tmp_path)
    outcomes = event["outcomes"]
    assert [name for name, outcome in outcomes.items() if outcome == "allowed"] == []
    assert outcomes["memory"] == "MemoryError"
    assert outcomes["many_files"] == outcomes["big_file"] == "OSError"


def test_a_child_may_start_threads(server):
    assert run(server, "use_threads")[0] == [{"from": "thread"}]


def test_network_and_processes_can_be_granted(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        payload = {"port": listener.getsockname()[1], "only": ["tcp", "unix", "fork", "program"]}
        events, _ = run(server, "try_to_escape", payload, limits=Limits(network=True, processes=True))
    assert set(events[0]["outcomes"].values()) == {"allowed"}


def test_a_child_that_may_start_programs_can_give_that_up_in_all_its_threads(server):
    events, _ = run(server, "lock_later", limits=Limits(processes=True))
    assert events == [
        {"at_first": "allowed", "locked": True, "then": "PermissionError", "in_a_thread": "PermissionError"}
    ]


def test_siblings_meet_over_loopback_and_then_lock_the_door_behind_them(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        payload = {"port": listener.getsockname()[1]}
        (event,), ending = run(server, "meet_and_lock", payload, limits=Limits(siblings=True))
    assert ending == Exit(0, None)
    outcomes = event["outcomes"]
    if "network_namespace" in event["isolation"]:  # its loopback interface is not that of the machine
        assert outcomes["outside"] == "ConnectionRefusedError"
    denied = dict.fromkeys(("sibling", "thread", "tcp", "fork", "sibling_is_killed"), "PermissionError")
    assert {**outcomes, "outside": None} == {"locked": True, "outside": None, **denied}


def test_the_walls_are_reported(server):
    (event,), _ = run(server, "echo")
    assert {"resource_limits", "no_new_privs", "parent_death_signal"} <= set(event["isolation"])
    assert {"seccomp", "network_namespace"} & set(event["isolation"])


def test_a_cpu_limit_ends_a_busy_child(server):
    with server.spawn(f"{TARGETS}:spin", {}, limits=Limits(cpu_seconds=1)) as child:
        assert child.wait(60) in (Exit(None, signal.SIGXCPU), Exit(None, signal.SIGKILL))


def test_a_child_lets_others_go_first_as_far_as_it_is_told(server):
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for niceness in (0, 5):
        with server.spawn(f"{TARGETS}:answer_commands", {}, limits=Limits(niceness=niceness)) as child:
            child.send({"ready": True})
            assert child.receive(20.0)
            assert os.getpriority(os.PRIO_PROCESS, child.pid) == own + niceness
            session = Path(f"/proc/{child.pid}/autogroup")
            if niceness and session.exists():  # its own session: beside others this alone counts
                assert session.read_text().split()[-1] == str(niceness)


def test_several_children_at_once_from_several_threads(server):
    seen = []

    def work(number):
        for turn in range(5):
            events, ending = run(server, "echo", {"number": number, "turn": turn})
            seen.append((events[0]["echo"]["number"], events[0]["echo"]["turn"], ending.code))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [(number, turn, 0) for number in range(6) for turn in range(5)]


def test_two_hundred_children_in_a_row_leak_nothing(server):
    run(server, "echo")
    assert wait_until(lambda: footprint(server)[2] == 0)  # the first child is reaped a moment after it has ended
    before = footprint(server)
    for _ in range(200):
        assert run(server, "echo")[1] == Exit(0, None)
    assert wait_until(lambda: footprint(server) == before), (before, footprint(server))


def count(folder):
    return len(list(Path(folder).iterdir()))


def footprint(server):
    """Descriptors here, descriptors there, and the children of the server, zombies included."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return count("/proc/self/fd"), count(f"/proc/{server.pid}/fd"), len(children)


def test_closing_a_child_kills_it(server):
    child = server.spawn(f"{TARGETS}:sleep", {})
    child.close()
    child.close()
    assert wait_until(lambda: not Path(f"/proc/{child.pid}").exists())


def test_a_killed_server_is_replaced_and_its_children_die(server):
    child = server.spawn(f"{TARGETS}:sleep", {})
    child.receive(10)
    os.kill(server.pid, signal.SIGKILL)
    assert child.wait(10) == Exit(None, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(child.pid))
    child.close()
    assert run(server, "echo")[1] == Exit(0, None)


@pytest.mark.parametrize("options", [[], ["--pause"]])
def test_children_die_when_their_owner_is_killed(options):
    command = [sys.executable, "-m", "tests.services.forkserver.owner", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 3
        assert all(is_alive(pid) for pid in pids)
        owner.kill()
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids), 2.0)


def test_a_forked_copy_of_the_owner_uses_a_server_of_its_own(server):
    run(server, "echo")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            parent_pid = server.pid
            events, _ = run(server, "echo", {"x": 1})
            os.write(write, b"ok" if parent_pid is None and events and server.pid else b"no")
            server.close()
            code = 0
        finally:
            os._exit(code)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"ok"
    os.close(read)
    os.close(write)
    assert run(server, "echo")[1] == Exit(0, None)


def test_a_server_that_cannot_import_is_reported():
    server = ForkServer(preload=["no_such_module_anywhere"])
    with pytest.raises(Unavailable):
        server.spawn(f"{TARGETS}:echo", {})
    server.close()


def test_one_may_ask_whether_the_server_is_ready_without_waiting_for_it():
    with closing(ForkServer(preload=[f"{TARGETS}:nap"])) as server:
        assert not server.ready_within(0.0)
        assert server.ready_within(30.0)
        assert server.ready_within(0.0)
    with closing(ForkServer(preload=["no.such.module"])) as server, pytest.raises(Unavailable, match="died while"):
        server.ready_within(30.0)


def test_a_function_can_be_called_once_before_any_fork():
    server = ForkServer(preload=[f"{TARGETS}:warm"])
    try:
        assert run(server, "describe")[0][0]["environment"]["WARMED"] == "yes"
    finally:
        server.close()


def test_with_torch_the_server_has_one_thread_and_its_children_may_have_more():
    server = ForkServer(preload=["torch", "numpy"])
    try:
        said = server.wait_ready()
        assert said["threads"] == 1
        maps = Path(f"/proc/{server.pid}/maps").read_text()
        assert "nvidia" not in maps
        (event,), _ = run(server, "use_torch")
        assert event["total"] == 600.0**3
        assert event["threads"] >= 2
        assert count(f"/proc/{server.pid}/task") == 1
    finally:
        server.close()
