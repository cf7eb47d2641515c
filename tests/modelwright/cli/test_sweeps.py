import json

from modelwright.cli import sweep_tables
from tests.modelwright.cli.test_commands import page, run  # noqa: F401 - the fixture
from tests.modelwright.scripted import reply, scripted

LR = "/training/optimizer/lr"
SWEEP_ID = "swp_06f8aaaaaaaaaaaaaaaaaaaaaa"


def sweep(state="running", **more):
    return {
        "id": SWEEP_ID,
        "name": "rates",
        "state": state,
        "terminal": state in ("succeeded", "failed", "cancelled"),
        "reason": None,
        "strategy": "tpe",
        "objective": {"metric": "validation/loss", "mode": "min"},
        "space": {LR: {"log_uniform": [0.001, 1]}},
        "progress": {"trials": 4, "ended": 2, "percent": 50.0, "counts": {"succeeded": 2, "running": 1, "invalid": 1}},
        "open": [
            {"number": 2, "state": "running", "parameters": {LR: 0.5}, "step": 3, "total_steps": 9, "latest": 0.7}
        ],
        "best": {"trial": 1, "objective": 0.25, "parameters": {LR: 0.01}, "checkpoint_id": "ckpt_1", "job_id": "job_1"},
        "created_at": "2026-01-01T00:00:00.000000Z",
        **more,
    }


def trial(number, state="succeeded", objective=None, **more):
    return {
        "id": str(number),
        "number": number,
        "state": state,
        "parameters": {LR: 0.01 * (number + 1)},
        "objective": objective,
        "latest": None,
        "step": 9,
        "total_steps": 9,
        "problem": None,
        **more,
    }


TRIALS = [
    trial(0, objective=0.5),
    trial(1, objective=0.25),
    trial(2, "running", latest=0.7),
    trial(3, "invalid", problem={"code": "shape_mismatch"}, total_steps=None),
]


def test_a_file_alone_begins_a_sweep(run, tmp_path):  # noqa: F811
    file = tmp_path / "sweep.json"
    file.write_text('{"base": {}, "space": {}}')
    for arguments in (["sweep", file], ["sweep", "run", file]):
        with scripted(reply(201, sweep())) as service:
            code, out, _ = run(*arguments, service=service)
        assert (code, out) == (0, f"{SWEEP_ID}\n")
        assert service.requests[0][:2] == ("POST", "/v1/sweeps")
        assert json.loads(service.requests[0][3]) == {"base": {}, "space": {}}


def test_the_list_is_lines_for_a_pipe(run):  # noqa: F811
    with scripted(reply(200, page(sweep()))) as service:
        code, out, _ = run("sweeps", "--state", "running", service=service)
    assert (code, out) == (0, f"{SWEEP_ID}\trunning\t50%\trates\t0.2500\n")
    assert "status=running" in service.requests[0][1]


def test_a_sweep_is_shown_with_its_best_trials_first(run):  # noqa: F811
    with scripted(reply(200, sweep()), reply(200, page(*TRIALS))) as service:
        code, out, _ = run("sweep", "show", SWEEP_ID, "--limit", "3", service=service)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{SWEEP_ID}  running  rates  tpe, min validation/loss"
    assert "2/4" in lines[1]
    assert "1 invalid" in lines[1]
    assert lines[2].split() == ["best", "0.2500", "trial", "1", "lr", "0.0100"]
    rows = [line.split() for line in lines[6:9]]
    assert [row[0] for row in rows] == ["2", "1", "0"]
    assert rows[0] == ["2", "running", "0.7000", "0.0300", "9/9"]
    assert lines[9] == "… and 1 more"


def test_a_wide_terminal_gets_the_reasons():
    from rich.console import Console

    console = Console(width=110, force_terminal=False, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(sweep_tables.sweep_view(sweep(), TRIALS, limit=9, width=110))
    assert "shape_mismatch" in captured.get()


def test_watching_in_a_pipe_tells_each_trial_once_and_exits_by_the_state(run):  # noqa: F811
    first = {"trials": 2, "ended": 1, "percent": 50.0, "counts": {"succeeded": 1, "running": 1}}
    both = {"trials": 2, "ended": 2, "percent": 100.0, "counts": {"succeeded": 1, "failed": 1}}
    failed = trial(1, "failed", problem={"code": "non_finite_loss"})
    answers = [
        reply(200, sweep(progress=first), ETag='"1"'),
        reply(200, page(TRIALS[0])),
        reply(200, sweep(progress=first, open=[]), ETag='"2"'),
        reply(200, sweep("failed", progress=both, reason="too_many_failed_trials"), ETag='"3"'),
        reply(200, page(TRIALS[0], failed)),
        reply(200, page(TRIALS[0], failed)),
    ]
    with scripted(*answers) as service:
        code, _, err = run("sweep", "watch", SWEEP_ID, service=service)
    assert code == 8
    assert err.splitlines()[:2] == ["trial 0  succeeded  0.5000", "trial 1  failed"]
    assert "failed (too_many_failed_trials)" in err


def test_watching_as_json_is_a_line_for_each_change(run):  # noqa: F811
    with scripted(reply(200, sweep(), ETag='"1"'), reply(200, sweep("cancelled"), ETag='"2"')) as service:
        code, out, _ = run("sweep", "watch", SWEEP_ID, "--json", service=service)
    assert code == 9
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["running", "cancelled"]


def test_cancel_and_picture(run, tmp_path):  # noqa: F811
    with scripted(reply(200, sweep("cancelling"))) as service:
        code, out, _ = run("sweep", "cancel", SWEEP_ID, service=service)
    assert (code, out) == (0, f"{SWEEP_ID}  cancelling\n")
    with scripted(reply(200, "<svg/>")) as service:
        code, out, _ = run("sweep", "picture", SWEEP_ID, "-o", tmp_path / "p.svg", service=service)
    assert (code, out) == (0, f"{tmp_path / 'p.svg'}\n")
    assert "svg" in (tmp_path / "p.svg").read_text()
    assert service.requests[0][1] == f"/v1/sweeps/{SWEEP_ID}/parallel-coordinates?format=svg"
