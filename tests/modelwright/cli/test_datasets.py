import hashlib
import json

from tests.modelwright.cli.test_commands import page, run  # noqa: F401 - the fixture
from tests.modelwright.scripted import reply, scripted

DATASET = {
    "id": "ds_1",
    "object": "dataset",
    "name": "fish.csv",
    "owner": "own",
    "state": "ready",
    "rows": 1234,
    "columns": {
        "length": {"dtype": "float64", "shape": [], "kind": "number"},
        "kind": {"dtype": "int64", "shape": [], "kind": "category", "classes": 2, "class_names": ["pike", "trout"]},
    },
    "default_inputs": ["length"],
    "default_target": "kind",
    "problems": [],
    "size_bytes": 2000,
    "created_at": None,
    "links": {"parts": "/v1/datasets/ds_1/parts", "complete": "/v1/datasets/ds_1/complete"},
}


def test_the_list_is_lines_for_a_pipe_and_the_default_command(run):  # noqa: F811
    with scripted(reply(200, page(DATASET))) as service:
        code, out, _ = run("datasets", service=service)
    assert (code, out) == (0, "ds_1\tready\t1,234\t2\tfish.csv\tbuilt in\n")
    assert service.requests[0][1].startswith("/v1/datasets?")


def test_an_upload_prints_the_id_alone_and_sends_only_what_is_not_there(run, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("modelwright.upload.PART_BYTES", 4)
    file = tmp_path / "fish.csv"
    file.write_bytes(b"a,b\n1,2\n3,4\n")
    there = {"number": 1, "sha256": hashlib.sha256(b"a,b\n").hexdigest()}
    begun = {**DATASET, "state": "uploading"}
    answers = [
        reply(201, begun),
        reply(200, page({**there, "id": 1})),
        reply(201, {}),
        reply(201, {}),
        reply(200, DATASET),
    ]
    with scripted(*answers) as service:
        code, out, err = run(
            "datasets", "upload", file, "--target", "b", "--options", '{"delimiter": ","}', service=service
        )
    assert (code, out) == (0, "ds_1\n")
    assert "1,234 rows, 2 columns" in err
    sent = [(method, path) for method, path, _, _ in service.requests]
    assert sent[2:] == [
        ("PUT", "/v1/datasets/ds_1/parts/2"),
        ("PUT", "/v1/datasets/ds_1/parts/3"),
        ("POST", "/v1/datasets/ds_1/complete"),
    ]
    request = json.loads(service.requests[0][3])
    assert request["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (request["format"], request["target"], request["csv"]) == ("csv", "b", {"delimiter": ","})


def test_a_file_that_is_refused_ends_with_the_reason(run, tmp_path):  # noqa: F811
    file = tmp_path / "fish.csv"
    file.write_bytes(b"a,b\n1\n")
    refusal = {
        "code": "ragged_row",
        "detail": "Line 2 has 1 cells, but there are 2 columns.",
        "hint": "Give every line as many cells.",
        "errors": [],
    }
    begun = {**DATASET, "state": "uploading"}
    answers = [reply(201, begun), reply(200, page()), reply(201, {}), reply(422, refusal)]
    with scripted(*answers) as service:
        code, out, err = run("datasets", "upload", file, service=service)
    assert (code, out) == (3, "")
    assert "Line 2 has 1 cells" in err
    assert "Give every line as many cells." in err


def test_a_command_line_that_is_wrong_asks_nothing_of_the_service(run, tmp_path):  # noqa: F811
    assert run("datasets", "upload", tmp_path / "absent.csv")[0] == 2
    file = tmp_path / "a.csv"
    file.write_bytes(b"a\n1\n")
    assert run("datasets", "upload", file, "--options", "[1]")[0] == 2


def test_show_and_preview(run):  # noqa: F811
    preview = {
        "rows": 1,
        "total_rows": 1234,
        "columns": {"length": [1.5], "kind": ["pike"]},
        "statistics": {
            "length": {"min": 1.5, "mean": 2.0, "max": 9.0, "std": 1.0, "missing": 3, "histogram": {"counts": [1, 2]}},
            "kind": {"missing": 0, "classes": {"pike": 600, "trout": 634}},
        },
    }
    with scripted(reply(200, DATASET)) as service:
        shown = run("datasets", "show", "ds_1", service=service)[1]
    assert "pike, trout" in shown
    assert "target" in shown
    with scripted(reply(200, preview)) as service:
        shown = run("datasets", "preview", "ds_1", "-n", "1", service=service)[1]
    assert "trout 634" in shown
    assert "1 of 1,234 rows" in shown
    assert service.requests[0][1] == "/v1/datasets/ds_1/preview?rows=1"
