"""`modelwright predict` against a service that answers what the test wrote down."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from modelwright import Client
from modelwright.cli.exits import Exit, UsageError
from modelwright.cli.predict import read_rows
from modelwright.cli.prediction_tables import print_predictions
from modelwright.errors import ModelwrightError
from tests.modelwright.cli.test_commands import run  # noqa: F401 - a fixture
from tests.modelwright.scripted import reply, scripted, send

CHECKPOINT = {"id": "ckpt_1", "step": 40}
ANSWER = {
    "object": "prediction", "checkpoint_id": "ckpt_1", "job_id": "job_1", "step": 40, "kind": "classification",
    "target": "kind", "class_names": ["pike", "trout"], "first": 0, "total_rows": 3, "has_more": False,
    "metrics": {"loss": 0.25, "accuracy": 0.5}, "ignored_columns": ["boat"],
    "predictions": [
        {"row": 4, "label": "pike", "probabilities": {"pike": 0.75, "trout": 0.25}, "target": "pike"},
        {"row": 9, "label": "trout", "probabilities": {"trout": 1.0, "pike": 0.0}, "target": "pike"},
    ],
}  # fmt: skip


def printed(answer, width=100):
    console = Console(record=True, width=width, file=io.StringIO())
    print_predictions(answer, console)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_terminal_shows_label_bar_and_whether_it_is_right():
    assert printed(ANSWER) == [
        "ROW  LABEL  PROBABILITY                     TARGET",
        "  4  pike   ████████░░  75.0%  trout 25.0%  ✓ pike",
        "  9  trout  ██████████ 100.0%               ✗ pike",
        "… and 1 more rows; a pipe, or --limit, gets them",
        "3 rows  step 40  loss 0.25  accuracy 0.5",
        "not used: boat",
    ]


def test_values_and_outputs_have_their_own_tables():
    value = {"row": 0, "value": {"rent": 12.5, "price": 1000.0}, "deviation": 0.25, "target": {"rent": 12}}
    heading, line, *_ = printed({**ANSWER, "kind": "regression", "predictions": [value]})
    assert heading.split() == ["ROW", "VALUE", "±", "TARGET"]
    assert line.split("  ")[-3:] == ["rent 12.5, price 1000", "0.25", "rent 12"]
    outputs = {"row": 0, "outputs": {"code": [0.5, "NaN"]}}
    assert "code [0.5, NaN]" in printed({**ANSWER, "kind": "outputs", "predictions": [outputs]})[1]
    labels = {"row": 0, "labels": ["b", "a"], "probabilities": {"b": 0.9, "a": 0.6}, "target": ["a", "b"]}
    assert "✓" in printed({**ANSWER, "kind": "multi_label", "predictions": [labels]})[1]
    places = {"row": 0, "label": ["e", "i", "n"], "probability": [0.5, 0.25, 1.0]}
    assert "'ein'" in printed({**ANSWER, "predictions": [places]})[1]


def test_rows_of_a_file_are_sent_and_come_back_as_csv_in_a_pipe(run, tmp_path):  # noqa: F811
    (tmp_path / "catch.csv").write_text("length;colour\n22;red\n35;blue\n")
    with scripted(reply(200, CHECKPOINT), reply(200, ANSWER)) as service:
        code, out, _ = run("predict", "ckpt_1", str(tmp_path / "catch.csv"), service=service)
    assert code == Exit.DONE
    assert json.loads(service.requests[1][3])["rows"] == [
        {"length": "22", "colour": "red"},
        {"length": "35", "colour": "blue"},
    ]
    assert out == "row,label,probability,target\n4,pike,0.75,pike\n9,trout,1.0,pike\n"


def test_a_part_is_streamed_in_a_pipe(run):  # noqa: F811
    def lines(handler):
        send(handler, 200, b"row,label\n4,pike\n", Content_Type="text/csv")

    with scripted(reply(200, CHECKPOINT), lines) as service:
        code, out, _ = run("predict", "ckpt_1", "--split", "test", service=service)
    assert (code, out) == (Exit.DONE, "row,label\n4,pike\n")
    assert service.requests[1][2]["accept"] == "text/csv"
    assert json.loads(service.requests[1][3])["data"] == {"split": "test"}


def test_a_file_and_a_part_exclude_each_other(run):  # noqa: F811
    with scripted(reply(200, CHECKPOINT)) as service:
        code, *_ = run("predict", "ckpt_1", "x.csv", "--split", "test", service=service)
    assert code == Exit.USAGE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1\n", "line 2: 1 cells, but the header has 2"),
        ("a,b\n", "no rows"),
        ('{"row": []}', "must hold"),
        ('{"columns": []}', "must hold"),
        ("[1, 2", "not JSON"),
        ('{"rows": [{"a": NaN}]}', "NaN"),
    ],
)
def test_a_file_that_is_no_rows_is_refused_with_its_place(tmp_path, content, said):
    (tmp_path / "rows").write_text(content)
    with pytest.raises(UsageError, match=said):
        read_rows(str(tmp_path / "rows"))


def test_json_may_be_rows_or_columns(tmp_path):
    for content, wanted in (('[{"a": 1}]', [{"a": 1}]), ('{"columns": {"a": [1]}}', {"a": [1]})):
        (tmp_path / "rows.json").write_text(content)
        assert read_rows(str(tmp_path / "rows.json")) == wanted


def test_many_rows_go_in_several_requests_and_windows_are_not_cut():
    def part(total):
        return reply(200, {**ANSWER, "total_rows": total, "predictions": [{"row": 0, "label": "pike"}]})

    rows = [{"text": "x" * 500_000}] * 3
    with scripted(reply(200, CHECKPOINT), part(1)) as service, Client(service.url, "mw_x_y") as client:
        answer = client.predict("ckpt_1", rows)
    assert [one["row"] for one in answer["predictions"]] == [0, 1, 2]
    assert (answer["metrics"], answer["total_rows"]) == (None, 3)
    service, windows = scripted(reply(200, CHECKPOINT), part(0)), pytest.raises(ModelwrightError, match="windows")
    with service as running, Client(running.url, "mw_x_y") as client, windows:
        client.predict("ckpt_1", rows)


def test_pages_are_put_together_and_arrays_are_sent_as_lists():
    first = {**ANSWER, "has_more": True}
    last = {**ANSWER, "first": 2, "predictions": ANSWER["predictions"][:1], "metrics": None}
    answers = [reply(200, one) for one in (CHECKPOINT, first, last, CHECKPOINT, ANSWER)]
    with scripted(*answers) as service, Client(service.url, "mw_x_y") as client:
        answer = client.predict("ckpt_1", split="test")
        client.predict("ckpt_1", {"x": np.eye(2), "y": np.array([1.0, np.nan])})
    assert len(answer["predictions"]) == 3
    assert answer["metrics"] == ANSWER["metrics"]
    assert json.loads(service.requests[2][3]) == {
        "data": {"split": "test"}, "first": 2, "limit": 10_000, "metrics": False
    }  # fmt: skip
    assert json.loads(service.requests[-1][3])["columns"] == {"x": [[1.0, 0.0], [0.0, 1.0]], "y": [1.0, None]}
