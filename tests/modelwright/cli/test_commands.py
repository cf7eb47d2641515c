import json
import subprocess
import sys

import pytest

from modelwright.cli import main
from tests.modelwright.scripted import reply, scripted

JOB_ID = "job_06f8aaaaaaaaaaaaaaaaaaaaaa"


def job(state="running", **more):
    ended = state in ("succeeded", "failed", "cancelled")
    latest = {"train/loss": 0.1234567, "validation/accuracy": 0.975, "learning_rate": 0.001}
    progress = {"epoch": 3, "total_epochs": 10, "step": 60, "total_steps": 200, "percent": 30.0, "latest": latest}
    return {
        "id": JOB_ID,
        "name": "digits",
        "state": state,
        "terminal": ended,
        "phase": None,
        "reason": None,
        "attempt": 1,
        "labels": {},
        "progress": progress,
        "error": None,
        "model": {"total": 9610},
        "created_at": "2026-01-01T00:00:00.000000Z",
        **more,
    }


def page(*rows):
    return {"object": "list", "data": list(rows), "has_more": False, "last_id": rows[-1]["id"] if rows else None}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line in this process; returns exit code, standard output, standard error."""

    def run(*arguments, service=None):
        monkeypatch.setenv("MODELWRIGHT_URL", service.url if service else "http://127.0.0.1:9")
        monkeypatch.setenv("MODELWRIGHT_API_KEY", "mw_key")
        monkeypatch.setattr(sys, "argv", ["modelwright", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        return caught.value.code or 0, output.out, output.err

    return run


@pytest.fixture
def job_file(tmp_path):
    file = tmp_path / "job.json"
    file.write_text('{"model": "Linear(64, 10)"}')
    return file


def test_submit_prints_the_id_alone_so_that_a_shell_can_keep_it(run, job_file):
    with scripted(reply(201, job("queued"))) as service:
        assert run("submit", job_file, service=service) == (0, f"{JOB_ID}\n", "")
    assert json.loads(service.requests[0][3]) == {"model": "Linear(64, 10)"}


def test_submit_reads_standard_input(run, monkeypatch, job_file):
    with scripted(reply(201, job("queued"))) as service, job_file.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run("submit", "-", service=service)[0] == 0


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 8), ("cancelled", 9)])
def test_watching_ends_with_the_code_of_the_jobs_end(run, job_file, state, code):
    with scripted(reply(201, job("queued")), reply(200, job()), reply(200, job(state))) as service:
        status, out, err = run("submit", job_file, "--watch", service=service)
    assert status == code
    assert out == f"{JOB_ID}\n"
    assert "epoch 3/10" in err
    assert err.strip().splitlines()[-1].startswith(state)
    assert "\x1b" not in out + err


def test_a_failed_job_says_why_where_and_what_to_do(run):
    error = {"code": "label_out_of_range", "message": "Row 7 has label 12.", "pointer": "/data", "hint": "Use 0 to 9."}
    with scripted(reply(200, job("failed", error=error))) as service:
        status, _, err = run("watch", JOB_ID, service=service)
    assert status == 8
    assert all(part in err for part in ("Row 7 has label 12.", "label_out_of_range", "/data", "Use 0 to 9."))


def test_watching_as_json_is_a_line_for_each_change(run, job_file):
    with scripted(reply(201, job("queued")), reply(200, job()), reply(200, job("succeeded"))) as service:
        status, out, err = run("submit", job_file, "--watch", "--json", service=service)
    assert (status, err) == (0, "")
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["running", "succeeded"]


def test_an_invalid_job_shows_pointer_problem_and_hint_without_a_traceback(run, job_file):
    problems = [
        {"pointer": "/model/layers/2", "code": "shape_mismatch", "detail": "64 is not 128", "hint": "in_features=128"},
        {"pointer": "/model/forward/0", "code": "invalid_expression", "detail": "no such name", "column": 8},
    ]
    body = {"code": "shape_mismatch", "detail": "64 is not 128 (and 1 more)", "errors": problems}
    with scripted(reply(422, body)) as service:
        status, out, err = run("submit", job_file, service=service)
    assert (status, out) == (3, "")
    for part in ("/model/layers/2", "shape_mismatch", "64 is not 128", "in_features=128", "column 8"):
        assert part in err
    assert "Traceback" not in err


def test_errors_as_json_carry_what_the_service_said(run, job_file):
    with scripted(reply(422, {"code": "int_type", "detail": "no", "errors": []})) as service:
        status, out, err = run("submit", job_file, "--json", service=service)
    assert (status, out) == (3, "")
    assert json.loads(err)["error"]["code"] == "int_type"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"model": }', "line 1, column 11"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": 1, "a": 2}', '"a" stands twice'),
        ("[1]", "one JSON object"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_no_job_is_refused_with_its_place(run, tmp_path, content, said):
    (tmp_path / "bad.json").write_text(content)
    status, out, err = run("submit", tmp_path / "bad.json")
    assert (status, out) == (2, "")
    assert said in " ".join(err.split())


def test_a_missing_file_is_said_to_be_missing(run, tmp_path):
    status, _, err = run("submit", tmp_path / "absent.json")
    assert status == 2
    assert "No such file" in " ".join(err.split())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((401, "unauthenticated"), 4),
        ((403, "insufficient_scope"), 4),
        ((404, "not_found"), 5),
        ((409, "already_terminal"), 6),
        ((500, "internal"), 1),
    ],
)
def test_each_kind_of_refusal_has_an_exit_code_of_its_own(run, answer, code):
    with scripted(reply(answer[0], {"code": answer[1], "detail": "No."})) as service:
        status, out, err = run("cancel", JOB_ID, service=service)
    assert (status, out) == (code, "")
    assert "No." in err


def test_no_service_is_said_with_what_to_do(run):
    status, _, err = run("jobs")
    assert status == 7
    assert "modelwright up" in err


def test_no_credentials_are_said_with_where_they_were_looked_for(tmp_path):
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "modelwright", "jobs"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert ".modelwright/credentials.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_jobs_in_a_pipe_are_tab_separated_lines(run):
    with scripted(reply(200, page(job(), job("failed", name=None)))) as service:
        status, out, _ = run("jobs", "--state", "running", "--label", "team=a", "-n", "5", service=service)
    assert status == 0
    assert [line.split("\t")[:3] for line in out.splitlines()] == [
        [JOB_ID, "running", "30%"],
        [JOB_ID, "failed", "30%"],
    ]
    assert service.requests[0][1] == "/v1/jobs?status=running&label.team=a&limit=5"


def test_jobs_as_json_is_one_array(run):
    with scripted(reply(200, page(job()))) as service:
        assert json.loads(run("jobs", "--json", service=service)[1])[0]["id"] == JOB_ID


def test_show_tells_the_newest_numbers_and_checkpoints(run):
    checkpoint = {"id": "ckpt_1", "step": 60, "size_bytes": 38_000, "final": True}
    with scripted(reply(200, job())), scripted(reply(200, job()), reply(200, page(checkpoint))) as service:
        status, out, _ = run("show", JOB_ID, service=service)
    assert status == 0
    for part in (JOB_ID, "running", "60 of 200", "0.1235", "0.9750", "9,610", "ckpt_1", "38.0 kB", "final"):
        assert part in out


def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    rows = [job(name=f"job {n} " + "x" * 500) for n in range(100)]
    with scripted(reply(200, page(*rows))) as service:
        line = f"{sys.executable} -m modelwright jobs -n 1000 | head -n 1; exit ${{PIPESTATUS[0]}}"
        environment = {"PATH": "/usr/bin:/bin", "MODELWRIGHT_URL": service.url, "MODELWRIGHT_API_KEY": "mw_key"}
        done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(JOB_ID)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments", [["jobs", "--label", "no-equals-sign"], ["submit"], ["nonsense"], ["jobs", "-n", "0"]]
)
def test_a_wrong_command_line_is_exit_code_2(run, arguments):
    assert run(*arguments)[0] == 2


def event(identifier, kind="job.state_changed", **data):
    moment = "2026-01-01T00:00:00.000000Z"
    return {"id": identifier, "object": "event", "type": kind, "job_id": JOB_ID, "created_at": moment, "data": data}


def test_events_are_a_line_each_with_what_failed_in_words(run):
    failed = event("evt_2", "job.attempt_failed", attempt=1, error={"code": "trainer_died", "message": "It died."})
    with scripted(reply(200, page(event("evt_1", state="running", reason=None, attempt=1), failed))) as service:
        code, output, _ = run("events", JOB_ID, service=service)
    assert code == 0
    assert output.splitlines() == [
        "2026-01-01T00:00:00.000000Z  job.state_changed     state running  attempt 1",
        "2026-01-01T00:00:00.000000Z  job.attempt_failed    attempt 1  error It died.",
    ]


def test_events_as_json_are_lines_of_json(run):
    with scripted(reply(200, page(event("evt_1", state="queued")))) as service:
        _, output, _ = run("events", JOB_ID, "--json", service=service)
    assert [json.loads(line)["id"] for line in output.splitlines()] == ["evt_1"]


@pytest.mark.parametrize(("word", "state"), [("pause", "pausing"), ("resume", "queued")])
def test_pausing_and_resuming_print_id_and_state(run, word, state):
    with scripted(reply(200, job(state))) as service:
        assert run(word, JOB_ID, service=service) == (0, f"{JOB_ID}  {state}\n", "")
    assert service.requests[0][:2] == ("POST", f"/v1/jobs/{JOB_ID}/{word}")
