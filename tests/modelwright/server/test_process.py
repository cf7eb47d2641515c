import signal
import subprocess
import sys

from modelwright.server.keeper import Keeper, Program
from modelwright.server.process import Command, Process
from tests.modelwright.server.processes import eventually, is_alive

SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
FAMILY = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.stdin.read(); {then}"
LAUNCHER = """
import sys
from pathlib import Path
from modelwright.server.process import Command, Process
process = Process(Command("x", ["/bin/sleep", "600"], Path(sys.argv[1])))
process.start()
print(process.pid, flush=True)
sys.stdin.read()
"""


def python(code: str, tmp_path, **more) -> Command:
    return Command("python", [sys.executable, "-c", code], tmp_path / "log", **more)


def test_what_it_writes_is_in_the_log_and_what_it_is_given_it_reads(tmp_path):
    process = Process(python("import sys; print(sys.stdin.read().upper())", tmp_path, standard_input=b"secret"))
    process.start()
    assert process.wait(20) == 0
    assert process.log_tail() == "SECRET"


def test_a_process_that_ends_when_asked_is_not_killed(tmp_path):
    process = Process(python(SLEEP, tmp_path))
    process.start()
    assert process.stop(20)
    assert process.returncode == -signal.SIGTERM


def test_a_process_that_does_not_listen_is_killed(tmp_path):
    process = Process(python(STUBBORN, tmp_path))
    process.start()
    assert eventually(lambda: process.log_tail() == "ready")
    assert not process.stop(0.2)
    assert process.returncode == -signal.SIGKILL


def test_children_of_a_killed_process_are_killed_with_it(tmp_path):
    process = Process(python(FAMILY.format(then="import time; time.sleep(600)"), tmp_path))
    process.start()
    assert eventually(lambda: process.log_tail().isdigit())
    child = int(process.log_tail())
    process.kill()
    assert eventually(lambda: not is_alive(child))


def test_children_that_outlive_their_parent_are_killed_when_that_is_noticed(tmp_path):
    process = Process(python(FAMILY.format(then=""), tmp_path))
    process.start()
    assert process.wait(20) == 0
    child = int(process.log_tail())
    assert eventually(lambda: not is_alive(child))


def test_a_child_dies_with_a_launcher_that_was_killed(tmp_path):
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, tmp_path / "log"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = int(launcher.stdout.readline())
    assert is_alive(child)
    launcher.kill()
    launcher.communicate()
    assert eventually(lambda: not is_alive(child))


def test_a_program_that_cannot_be_run_ends_and_says_why(tmp_path):
    process = Process(Command("none", ["/nonexistent/program"], tmp_path / "log"))
    process.start()
    assert process.wait(20) not in (0, None)
    assert "/nonexistent/program" in process.log_tail() or "No such file" in process.log_tail()


def test_a_kept_program_that_ends_is_reported_and_runs_again(tmp_path):
    said = []
    program = Program(python(SLEEP, tmp_path), stop_seconds=5)
    keeper = Keeper("worker", program, said.append)
    keeper.start()
    first = program.pid
    program.kill()

    def restarted():
        keeper.tick()
        return program.running and program.pid != first

    assert eventually(restarted)
    assert "worker ended unexpectedly" in said[0]
    assert str(tmp_path / "log") in said[0]
    assert said[1] == "worker runs again"
    program.stop()


def test_a_program_that_does_not_last_is_started_less_and_less_often(tmp_path):
    said = []
    program = Program(python("", tmp_path), stop_seconds=5)
    keeper = Keeper("api", program, said.append)
    keeper.start()

    def failed_three_times():
        keeper.tick()
        return sum("ended" in line for line in said) >= 3

    assert eventually(failed_three_times)
    pauses = [line.split(" in ")[1].split(" s")[0] for line in said if "ended" in line]
    assert pauses[:3] == ["0.5", "1", "2"]
    program.stop()
