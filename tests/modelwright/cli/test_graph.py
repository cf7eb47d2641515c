"""`modelwright graph` against a service that answers what the test wrote down."""

import json

import pytest
from rich.console import Console

from modelwright.cli import graph as command
from modelwright.cli.exits import UsageError
from modelwright.cli.graph_request import Asked, diff_request, graph_request
from tests.modelwright.cli.test_commands import run  # noqa: F401 - a fixture
from tests.modelwright.scripted import reply, scripted, send

MODEL = {"model": "Linear(4, 2)"}


def node(key, kind, name, value=None, shape=()):
    return {"id": key, "kind": kind, "name": name, "shape": list(shape), "value": value}


def operation(key, name, inputs, output, **rest):
    base = {"source": None, "pointer": f"/modules/Net/forward/{key}", "module": "", "loops": [], "branches": []}
    return {"id": key, "name": name, "inputs": inputs, "outputs": [output], **base, **rest}


def described(value):
    return {"value": value, "summary": None, "norm": abs(value)}


def step(name, derivative, formula="1"):
    return {"name": name, "derivative": derivative, "formula": formula}


def path(text, *steps, product, share):
    return {"text": text, "steps": list(steps), "contribution": described(product), "share": share}


LEAF = {
    "name": "w",
    "shape": [],
    "autograd": described(8.0),
    "paths": {
        "count": 2,
        "items": [
            path("y → a → w", step("∂y/∂a", 5.0), step("∂a/∂w", 1.0), product=5.0, share=0.625),
            path("y → b → w", step("∂y/∂b", 3.0), step("∂b/∂w", 1.0), product=3.0, share=0.375),
        ],
        "left_out": {"count": 0, "reason": None, "sum": None},
        "sum_of_computed": described(8.0),
    },
}
GRAPH = {
    "format": "graph/1",
    "nodes": [
        node("n0", "input", "x1", 1.0), node("n1", "input", "x2", 3.0), node("n2", "parameter", "w", 2.0),
        node("n3", "value", "a", 3.0), node("n4", "value", "b", 5.0), node("n5", "output", "y", 15.0),
    ],
    "operations": [
        operation("e0", "add", ["n0", "n2"], "n3", source="a = x1 + self.w"),
        operation("e1", "add", ["n1", "n2"], "n4"),
        operation("e2", "mul", ["n3", "n4"], "n5", branches=[{"pointer": "/b", "taken": "else"}]),
    ],
    "modules": [{"path": "", "type": "Product", "calls": 1, "parameters": 1}],
    "loops": [{"pointer": "/l", "kind": "while", "condition": "x > 1", "turns": 1}],
    "branches": [],
    "truncated": None,
    "first_non_finite": None,
    "gradients": {
        "output": {"name": "y"},
        "leaves": [LEAF],
        "check": {"agrees": True, "dtype": "float64", "max_abs_difference": 2e-10, "reason": None},
    },
}  # fmt: skip


def text_reply(text):
    return lambda handler: send(handler, 200, text.encode(), Content_Type="image/svg+xml")


@pytest.fixture
def model_file(tmp_path):
    file = tmp_path / "net.json"
    file.write_text(json.dumps(MODEL))
    return file


def terminal(width=100):
    return Console(force_terminal=True, width=width, highlight=False, record=True)


def shown(print_, *arguments, width=100, **named):
    console = terminal(width)
    print_(*arguments, console, **named)
    return console.export_text()


def test_a_pipe_gets_a_line_for_each_operation_and_each_path(run, model_file):  # noqa: F811
    with scripted(reply(200, GRAPH)) as service:
        code, out, _ = run("graph", model_file, "--inputs", '{"x1": 1, "x2": 3}', service=service)
    assert code == 0
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines[0] == ["e0", "-", "add", "x1,w", "a", "= 3", "/modules/Net/forward/e0"]
    assert ["w", "y → a → w", "∂y/∂a = 5 · ∂a/∂w = 1", "5"] in lines
    assert lines[-1] == ["w", "autograd", "", "8"]
    ((_, where, _, body),) = service.requests
    assert where == "/v1/graphs"
    assert json.loads(body) == {"model": MODEL, "inputs": {"x1": 1, "x2": 3}, "gradients": {}}


def test_a_terminal_shows_the_tree_and_the_paths_with_their_sum():
    tree = shown(command.print_tree, GRAPH)
    assert "Product  3 operations, 1 parameter" in tree
    assert "├── add  x1, w → a  = 3  a = x1 + self.w" in tree
    assert "└── mul  a, b → y  = 15  else" in tree
    assert "↻ while x > 1: 1 turn" in tree
    paths = shown(command.print_paths, GRAPH, named=False)
    assert "∂y/∂w = 8 by autograd, 2 paths" in paths
    rows = [line.split() for line in paths.splitlines()]
    assert ["y", "→", "b", "→", "w", "∂y/∂b", "=", "3", "·", "∂b/∂w", "=", "1", "3", "37.5%"] in rows
    assert ["sum", "8"] in rows
    assert "✓ sums, autograd and finite differences agree in float64" in paths


def test_what_is_not_listed_is_said_with_its_part_of_the_sum():
    rest = {"count": 3, "reason": "2 paths were asked for.", "sum": described(1.5)}
    leaf = {**LEAF, "autograd": described(9.5), "paths": {**LEAF["paths"], "count": 5, "left_out": rest}}
    check = {"agrees": None, "reason": "No time was left."}
    graph = {**GRAPH, "gradients": {"output": {"name": "y"}, "leaves": [leaf], "check": check}}
    text = shown(command.print_paths, graph, named=True)
    rows = [line.split() for line in text.splitlines()]
    assert ["3", "not", "listed", "2", "paths", "were", "asked", "for.", "1.5"] in rows
    assert ["sum", "with", "the", "rest", "9.5"] in rows
    assert "not checked: No time was left." in text


def test_the_check_says_what_it_could_not_compare_and_why():
    wrong = {"operation": "e1", "name": "sqrt", "pointer": "/b", "source": "b = torch.sqrt(a)"}
    check = {"agrees": False, "dtype": "float64", "max_abs_difference": None, "reason": None}
    graph = {**GRAPH, "gradients": {**GRAPH["gradients"], "check": check, "first_non_finite": wrong}}
    text = shown(command.print_paths, graph, named=False)
    assert "⚠ on the way back sqrt made the first gradient that is not finite: b = torch.sqrt(a)" in text
    assert "✗ not every gradient is finite, so nothing can be compared" in text
    check |= {"max_abs_difference": 0.5, "reason": "Finite differences ended after 400 runs."}
    text = " ".join(shown(command.print_paths, graph, named=False).split())
    assert (
        "differ: largest difference 0.5 (Finite differences ended after 400 runs.): the function has a corner" in text
    )
    check["agrees"] = True
    text = " ".join(shown(command.print_paths, graph, named=False).split())
    assert "agree in float64: largest difference 0.5 (Finite differences ended after 400 runs.)" in text


def test_a_picture_that_cannot_be_written_is_an_error_of_the_command_line(run, model_file, tmp_path):  # noqa: F811
    with scripted(reply(200, GRAPH), text_reply("<svg/>")) as service:
        file = tmp_path / "no" / "such.svg"
        code, _, errors = run("graph", model_file, "-i", '{"x1": 1, "x2": 3}', "-o", file, service=service)
    assert code == 2
    assert "such.svg cannot be written: No such file or directory." in " ".join(errors.split()).replace("\n", "")


def test_many_leaves_are_one_table_unless_they_are_named():
    leaves = [{**LEAF, "name": f"[w{index}]"} for index in range(9)]
    graph = {**GRAPH, "gradients": {**GRAPH["gradients"], "leaves": leaves}}
    text = shown(command.print_paths, graph, named=False)
    assert "∂y/∂…" in text and "[w8]" in text and "y → a → w" not in text
    assert "y → a → w" in shown(command.print_paths, graph, named=True)


def test_a_long_graph_shows_its_modules_and_counts_the_rest():
    modules = [{"path": f"b{i}", "type": "Block", "calls": 1, "parameters": 4} for i in range(20)]
    operations = [operation(f"e{i}", "add", ["n0", "n2"], "n3", module=f"b{i % 20}") for i in range(100)]
    graph = {**GRAPH, "modules": [*GRAPH["modules"], *modules], "operations": [*operations, *GRAPH["operations"]]}
    text = shown(command.print_tree, graph)
    assert len(text.splitlines()) <= 26
    assert "├── b7 Block  5 operations, 4 parameters" in text
    assert "└── 3 operations of its own" in text


def test_warnings_say_where_values_went_wrong_and_what_was_cut():
    found = {"operation": "e1", "name": "div", "source": "b = x / 0", "pointer": None, "given": []}
    cut = {"operations": {"kept": 3, "left_out": 4}}
    text = shown(command.print_tree, {**GRAPH, "first_non_finite": found, "truncated": cut})
    assert "⚠ div made the first value that is not finite: b = x / 0" in text
    assert "cut: 3 operations shown, 4 more ran" in text
    given = {"operation": None, "name": None, "source": None, "pointer": None, "given": ["n1"]}
    assert "⚠ not finite as given: x2" in shown(command.print_tree, {**GRAPH, "first_non_finite": given})


@pytest.mark.parametrize(("name", "kind"), [("g.svg", "svg"), ("g.mmd", "mermaid"), ("g.dot", "dot"), ("g.gv", "dot")])
def test_a_picture_is_written_in_the_format_of_its_suffix(run, model_file, tmp_path, name, kind):  # noqa: F811
    with scripted(reply(200, GRAPH), text_reply("<svg/>")) as service:
        code, out, err = run("graph", model_file, "-o", tmp_path / name, "--collapse", "depth:1", service=service)
    assert code == 0
    assert (tmp_path / name).read_text() == "<svg/>"
    assert service.requests[1][1] == f"/v1/graphs?format={kind}&collapse=depth%3A1"
    assert out.startswith("e0\t")
    assert name in err


@pytest.mark.parametrize("options", [("--format", "svg"), ("-o", "-"), ("-o", "-", "--format", "svg")])
def test_a_format_without_a_file_writes_the_picture_alone_to_the_pipe(run, model_file, options):  # noqa: F811
    with scripted(text_reply("<svg>é</svg>")) as service:
        code, out, _ = run("graph", model_file, *options, service=service)
    assert (code, out) == (0, "<svg>é</svg>")


def test_json_is_the_graph(run, model_file, tmp_path):  # noqa: F811
    with scripted(reply(200, GRAPH)) as service:
        _, out, _ = run("graph", model_file, "--json", "-o", tmp_path / "g.json", service=service)
    assert json.loads(out) == json.loads((tmp_path / "g.json").read_text()) == GRAPH


DIFF = {
    "runs": [{"name": "run 1", "totals": {"operations": 5}}, {"name": "run 2", "totals": {"operations": 9}}],
    "same": False,
    "differences": {
        "loops": [{"kind": "while", "condition": "x.norm() > 1", "turns": [1, 5]}],
        "branches": [{"condition": "x > 0", "counts": [{"then": 1}, {}]}],
        "modules": [{"path": "cell", "calls": [1, 5]}],
        "operations": [{"name": "div", "source": "x = x / 2", "pointer": "/p", "module": "", "counts": [1, 5]}],
    },
}


def test_diff_puts_the_runs_side_by_side(run, model_file):  # noqa: F811
    with scripted(reply(200, DIFF)) as service:
        code, out, _ = run("graph", model_file, "-i", '{"x": 1}', "--diff", '{"x": 9}', service=service)
    assert code == 0
    assert [line.split("\t") for line in out.splitlines()] == [
        ["", "run 1", "run 2"],
        ["operations", "5", "9"],
        ["↻ while x.norm() > 1  turns", "1", "5"],
        ["◇ if x > 0", "then", "not reached"],
        ["cell  calls", "1", "5"],
        ["div  x = x / 2", "1", "5"],
    ]
    runs = [{"name": "run 1", "inputs": {"x": 1}}, {"name": "run 2", "inputs": {"x": 9}}]
    assert json.loads(service.requests[0][3]) == {"model": MODEL, "runs": runs}


def test_the_file_may_be_a_model_a_job_or_a_request(tmp_path):
    file = tmp_path / "one.json"

    def request(document, **options):
        file.write_text(json.dumps(document))
        return graph_request(Asked(str(file), **options))

    model = {"modules": {}, "model": "Net()", "inputs": [{"name": "x"}]}
    assert request(model) == {"model": model, "gradients": {}}
    job = {"model": MODEL, "data": {"dataset": "digits", "batch_size": 32}, "training": {"epochs": 1}}
    assert request(job) == {"model": MODEL, "data": {"dataset": "digits", "rows": [0, 1, 2, 3]}, "gradients": {}}
    assert request(job, inputs='{"x": 1}') == {"model": MODEL, "inputs": {"x": 1}, "gradients": {}}
    whole = {"model": MODEL, "inputs": {"x": 1}, "gradients": {"of": ["w"]}, "seed": 3}
    assert request(whole) == whole
    assert request(whole, gradients=False) == {"model": MODEL, "inputs": {"x": 1}, "seed": 3}
    wanted = {"of": ["b", "c"], "output": "y"}
    assert request(whole, output_of="y", leaves=["b", "c"])["gradients"] == wanted
    assert request(model, data="digits", rows="0, 4-6")["data"] == {"dataset": "digits", "rows": [0, 4, 5, 6]}


def test_a_checkpoint_stands_for_the_file():
    assert graph_request(Asked(None, checkpoint="ckpt_1")) == {"checkpoint": "ckpt_1", "gradients": {}}
    assert diff_request(Asked(None, checkpoint="ckpt_1"), ['{"x": 1}'])["runs"][0] == {"name": "run 1"}


@pytest.mark.parametrize(
    "options",
    [
        (), ("--rows", "1"), ("--data", "d", "--rows", "9-1"), ("--data", "d", "--rows", "x"),
        ("--data", "d", "--rows", "0-99999999999"), ("--data", "d", "--inputs", "{}"), ("--inputs", "{"),
        ("--inputs", "no-such-file"), ("-o", "g.png"), ("--format", "png"), ("--diff", "{}", "-o", "g.svg"),
        ("--no-gradients", "--of", "w"), ("--checkpoint", "ckpt_1"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_says_so_and_asks_nothing(run, model_file, options):  # noqa: F811
    with scripted(reply(500)) as service:
        code, out, err = run("graph", *((model_file, *options) if options else ()), service=service)
    assert (code, out) == (2, "")
    assert err
    assert not service.requests


def test_a_definition_that_the_service_refuses_is_code_3(run, model_file):  # noqa: F811
    problem = {"code": "shape_mismatch", "detail": "64 is not 32", "pointer": "/model/model", "hint": "in_features=64"}
    body = {"status": 422, "code": "shape_mismatch", "detail": "64 is not 32", "errors": [problem]}
    with scripted(reply(422, body)) as service:
        code, out, err = run("graph", model_file, "-o", "-", service=service)
    assert (code, out) == (3, "")
    assert "/model/model" in err and "in_features=64" in err


def test_options_that_contradict_are_a_usage_error():
    with pytest.raises(UsageError):
        graph_request(Asked("net.json", checkpoint="ckpt_1"))
