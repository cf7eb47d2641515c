"""The preflight service: a sandboxed child answers, equal questions are remembered, bombs end at the deadline."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.config import Settings
from services.definition import check
from services.errors import InvalidRequest
from services.preflight import Preflight

DIGITS = {"pixels": {"dtype": "float32", "shape": ["B", 64]}}
SETTINGS = Settings("postgresql://unused", "redis://unused", preflight_processes=1)


@pytest.fixture(scope="module")
def preflight():
    service = Preflight(SETTINGS)
    yield service
    service.close()


@pytest.fixture
def with_settings(preflight):
    """Change settings of the one service for one test: its fork server stays."""

    def change(**settings):
        preflight.settings = replace(SETTINGS, **settings)

    yield change
    preflight.settings = SETTINGS


def problem_of(service, document, inputs=DIGITS):
    with pytest.raises(InvalidRequest) as caught:
        service.check(check(document, pointer="/model"), inputs, pointer="/model")
    return caught.value.problems[0]


def test_a_model_that_fits_has_a_report(preflight):
    report = preflight.check(check("Sequential(Linear(64, 32), ReLU(), Linear(32, 10))"), DIGITS)
    assert report["parameters"]["total"] == 64 * 32 + 32 + 32 * 10 + 10
    assert report["outputs"] == [{"dtype": "float32", "shape": ["B", 10]}]


def test_pointers_are_those_of_the_document_as_it_was_sent(preflight):
    bare = {"type": "Sequential", "layers": ["Linear(64, 8)", "Linear(9, 2)"]}
    assert problem_of(preflight, bare).pointer == "/model/layers/1"
    assert problem_of(preflight, {"model": bare}).pointer == "/model/model/layers/1"


def test_equal_questions_are_answered_from_memory(preflight):
    definition = check("Sequential(Linear(64, 3))")
    first = preflight.check(definition, DIGITS)
    preflight._ask = None  # whoever asks a child now fails
    try:
        assert preflight.check(definition, DIGITS) == first
    finally:
        del preflight._ask


def test_a_model_over_the_quota_is_refused(preflight, with_settings):
    with_settings(max_model_parameters=100)
    assert problem_of(preflight, "Linear(64, 10)").code == "model_too_large"


def test_a_forward_without_end_meets_the_deadline(preflight, with_settings):
    doubling = {
        "modules": {
            f"M{i}": {
                "init": [{"inner": f"M{i + 1}()" if i < 29 else "Identity()"}],
                "forward": ["return self.inner(self.inner(x))"],
            }
            for i in range(30)
        },
        "model": "M0()",
    }
    with_settings(preflight_timeout_seconds=1.0)
    preflight.check(check("Linear(64, 1)"), None)
    problem = problem_of(preflight, doubling)
    assert problem.code == "model_too_large"
    assert preflight.check(check("Linear(64, 2)"), None)["parameters"]["total"] == 130


def test_memory_that_a_branch_allocates_is_bounded(preflight, with_settings):
    greedy = {
        "modules": {
            "Net": {
                "forward": [
                    {"if": "x.sum() > -1", "then": ["y = torch.zeros(40000, 40000) + 1", "return y.sum() + x.sum()"]},
                    "return x",
                ]
            }
        },
        "model": "Net()",
    }
    with_settings(preflight_memory_bytes=1 << 30)
    problem = problem_of(preflight, greedy)
    assert problem.code == "model_too_large"


def test_a_fault_of_ours_is_not_blamed_on_the_size_of_the_model(preflight, monkeypatch, caplog):
    monkeypatch.setattr("services.preflight.TARGET", "services.modules.preflight:no_such_function")
    problem = problem_of(preflight, "Linear(7, 3)")
    assert (problem.code, problem.hint is not None) == ("check_failed", True)
    assert "fault of ours" in caplog.text
    monkeypatch.undo()
    preflight._answers.clear()
    assert preflight.check(check("Linear(7, 3)"), None)["parameters"]["total"] == 24
