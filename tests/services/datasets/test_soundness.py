"""Values that cannot be trained on are found before the queue, with row, column and fix; the trainer says the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from services.datasets import soundness
from services.datasets.presentation import present
from services.datasets.soundness import check_values
from services.errors import TrainingFailure
from services.modules.data.loading import load_data
from services.modules.objective_trial import try_objective
from services.training.schema import DataSection
from tests.services.datasets.files import npz
from tests.services.datasets.prepared import Prepared, csv_of

ROWS = 30
TABLE = {
    "a": [float(i) for i in range(ROWS)],
    "gaps": ["" if i in (7, 12) else i for i in range(ROWS)],
    "city": ["" if i == 9 else ("Rome", "Oslo")[i % 2] for i in range(ROWS)],
    "label": [i % 3 for i in range(ROWS)],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Prepared(tmp_path_factory.mktemp("table"), csv_of(TABLE), "csv", target="label")


def checked(prepared, classes=3, model="Flatten()", plan=None, **section):
    """Return what the check says, and the trainer's failure of the same job."""
    job = prepared.job(model, plan=plan, **section)
    data = DataSection.model_validate({"dataset": "ds_test", **section})
    info = replace(prepared.info, statistics=prepared.table["profile"]["statistics"])
    columns = prepared.columns()
    shown = present(data, info, lambda names: {name: columns[name] for name in names})
    problems = check_values(shown, job, classes, lambda names: {name: columns[name] for name in names})
    try:
        load_data(job["data"], torch.device("cpu"))
    except TrainingFailure as failure:
        return problems, failure
    return problems, None


def feature(*columns, **more):
    return {"features": {"x": {"columns": list(columns), **more}}, "inputs": ["x"], "target": "label"}


def test_a_gap_is_refused_where_the_request_names_its_column(table):
    (problem,), failure = checked(table, **feature("a", "gaps"))
    assert (problem.code, problem.pointer) == ("non_finite_data", "/data/features/x/columns/1")
    assert "`gaps`" in problem.detail
    assert "in row 7 (and in 1 more)" in problem.detail
    assert '"missing"' in problem.hint
    assert (failure.code, failure.pointer) == ("non_finite_data", "/data/features/x/columns/0")
    assert "row 7" in failure.detail


def test_a_category_without_a_value_is_refused(table):
    (problem,), failure = checked(table, **feature("city"))
    assert (problem.code, problem.pointer, failure.code) == (
        "missing_value",
        "/data/features/x/columns/0",
        problem.code,
    )
    assert "`city` has no value in row 9" in problem.detail
    assert failure.pointer == problem.pointer


@pytest.mark.parametrize("missing", ["drop", "mean", 0.5])
def test_gaps_that_are_filled_or_left_out_are_none(table, missing):
    assert checked(table, **feature("a", "gaps", missing=missing)) == ([], None)


def test_rows_that_another_column_leaves_out_are_not_looked_at(table):
    city, gaps = {"column": "city", "missing": "drop"}, {"column": "gaps", "missing": "drop"}
    assert checked(table, **feature(city, gaps)) == ([], None)
    (problem,), _ = checked(table, **feature(city, "gaps"))
    assert "row 7" in problem.detail


def test_inputs_and_targets_are_pointed_at_too(table):
    (problem,), failure = checked(table, inputs=["gaps"], target="label")
    assert problem.pointer == failure.pointer == "/data/inputs/0"
    (problem,), failure = checked(table, plan={"loss": {"type": "MSELoss"}}, inputs=["a"], target="gaps")
    assert problem.pointer == failure.pointer == "/data/target"


def test_the_place_within_an_array_is_told(tmp_path):
    x = np.zeros((ROWS, 2, 3), np.float32)
    x[4, 1, 2] = np.inf
    arrays = Prepared(tmp_path, npz(x=x, y=np.arange(ROWS) % 3), "npz", target="y")
    (problem,), failure = checked(arrays, inputs=["x"], target="y")
    assert "row 4, place [1, 2]" in problem.detail
    assert "row 4, place [1, 2]" in failure.detail


def test_labels_are_held_against_the_outputs_of_the_model(table):
    assert checked(table, inputs=["a"], target="label", classes=3)[0] == []
    (problem,), _ = checked(table, inputs=["a"], target="label", classes=2)
    assert (problem.code, problem.pointer) == ("label_out_of_range", "/model")
    assert "in row 2 (and in 9 more)" in problem.detail
    loss = {"type": "CrossEntropyLoss", "ignore_index": 2}
    assert checked(table, inputs=["a"], target="label", classes=2, plan={"loss": loss})[0] == []


def test_a_label_that_no_part_has_is_no_problem(tmp_path):
    labels = [2 if i == 0 else i % 2 for i in range(ROWS)]
    table = Prepared(tmp_path, csv_of({**TABLE, "label": labels}), "csv", target="label")
    section = {"inputs": ["a"], "target": "label", "split": {"train": 0.5, "by_time": "a"}}
    assert checked(table, classes=2, **section)[0] == []
    assert checked(table, classes=2, inputs=["a"], target="label")[0][0].pointer == "/model"


def test_what_is_too_much_to_read_is_left_to_the_trainer(table, monkeypatch):
    monkeypatch.setattr(soundness, "MAX_BYTES", 100)
    assert checked(table, **feature("gaps"))[0] == []


@pytest.mark.parametrize(
    ("loss", "classes"),
    [("CrossEntropyLoss", {"classes": 4}), ("MultiMarginLoss", {"classes": 4}), ("MSELoss", {})],
)
def test_the_trial_of_a_loss_tells_how_many_classes_it_compares(loss, classes):
    column = {"dtype": "float32", "shape": [4]} if loss == "MSELoss" else {"dtype": "int64", "shape": []}
    objective = {"loss": {"type": loss, "inputs": ["output", "y"]}, "metrics": [], "names": {"y": "y"},
                 "columns": {"y": column}}  # fmt: skip
    found = try_objective(objective, [], torch.rand(2, 4, requires_grad=True) * 1, batch=2)
    assert found == {**classes, "loss": []}
