"""The commands for models, and the doctor, against the real service."""

import json
import sys

import pytest

from modelwright.cli import main
from tests.docs.conftest import service  # noqa: F401 - the fixture
from tests.modelwright.scripted import reply, scripted

MODEL = {
    "model": "Sequential(Linear(64, 32), ReLU(), Linear(32, 10))",
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["B", 64]}],
}
JOB = {
    "model": MODEL["model"],
    "data": {"dataset": "digits"},
    "training": {"epochs": 1, "optimizer": {"type": "SGD", "lr": 0.1}, "loss": {"type": "CrossEntropyLoss"}},
}


@pytest.fixture
def run(service, monkeypatch, capsys, tmp_path):  # noqa: F811
    """Run a command line in this process; returns exit code, standard output, standard error."""

    def run(*arguments, document=None, url=service.url, key=service.key):
        if document is not None:
            (tmp_path / "document.json").write_text(json.dumps(document), encoding="utf-8")
            arguments = [*arguments, str(tmp_path / "document.json")]
        monkeypatch.setenv("MODELWRIGHT_URL", url)
        monkeypatch.setenv("MODELWRIGHT_API_KEY", key)
        monkeypatch.setattr(sys, "argv", ["modelwright", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        return caught.value.code or 0, output.out, output.err

    return run


def test_a_model_is_kept_listed_shown_and_printed_as_pytorch(run):
    code, out, _ = run("models", "create", document=MODEL)
    model_id = out.strip()
    assert (code, model_id[:4]) == (0, "mdl_")
    assert run("models", "create", document=MODEL)[1].strip() == model_id
    assert run("models", "list")[1].splitlines()[0].split("\t")[:2] == [model_id, "2,410"]
    assert "Linear" in run("models", "show", model_id)[1]
    assert json.loads(run("models", "show", model_id, "--json")[1])["id"] == model_id
    assert "nn.Linear(64, 32)" in run("models", "source", model_id)[1]


def test_a_model_and_a_job_are_checked_without_being_run(run):
    code, out, _ = run("validate", document=MODEL)
    assert code == 0
    assert out.startswith("valid  2,410 parameters, 2,410 of them train")
    code, out, _ = run("validate", document=JOB)
    assert code == 0
    assert out.startswith("valid  2,410 parameters, 2,410 of them train")
    code, _, err = run("validate", document={"model": "Sequential(Linear(4, 8), Liner(4, 4))"})
    assert code == 3
    assert "Did you mean" in err


def test_the_doctor_says_what_is_right(run):
    code, out, _ = run("doctor", "--json")
    found = {one["subject"]: one["state"] for one in json.loads(out)}
    assert code == 0
    assert {"python", "modelwright", "torch", "credentials", "database", "redis", "key"} <= found.keys()
    assert found["database"] == found["redis"] == found["key"] == "ok"
    assert "✓ database  PostgreSQL answers." in run("doctor")[1]


def test_the_doctor_says_what_is_wrong_and_how_it_is_mended(run):
    code, out, _ = run("doctor", key="mw_wrong")
    assert code == 1
    assert "\n✗ key  " in out
    code, out, _ = run("doctor", url="http://127.0.0.1:9")
    assert code == 1
    assert "modelwright up" in out
    down = {"database": {"status": "down", "detail": "PostgreSQL does not answer."}}
    with scripted(reply(503, {"status": "down", "components": down})) as broken:
        code, out, _ = run("doctor", url=broken.url)
    assert code == 1
    assert "✗ database  PostgreSQL does not answer.\n  → Start PostgreSQL again" in out
