"""Bad inputs of a job: members, types and code, sizes, shapes, names and loops, what the data cannot do."""

from __future__ import annotations

import httpx
import numpy as np

from tests.api.bad_inputs.case import REQUEST, Case, Row, World, changed, job, model, module
from tests.conformance.bombs import nested
from tests.services.datasets.files import npz

EPOCHS, LR = ("training", "epochs"), ("training", "optimizer", "lr")
_AT_EPOCHS, _AT_LR = "/training/epochs", "/training/optimizer/lr"

MEMBERS: Row = (
    Case("unknown field", job("colour", value="red"), 422, "extra_forbidden", "/colour"),
    Case("tenant_id", job("tenant_id", value="ten_1"), 422, "extra_forbidden", "/tenant_id"),
    Case("is_admin", job("is_admin", value=True), 422, "extra_forbidden", "/is_admin"),
    Case("epochs '7'", job(*EPOCHS, value="7"), 422, "int_type", _AT_EPOCHS),
    Case("epochs true", job(*EPOCHS, value=True), 422, "int_type", _AT_EPOCHS),
    Case("epochs 0", job(*EPOCHS, value=0), 422, "out_of_range", _AT_EPOCHS, says=("at least 1", "at most")),
    Case("epochs -1", job(*EPOCHS, value=-1), 422, "out_of_range", _AT_EPOCHS, says=("at least 1", "at most")),
    Case("epochs 10^9", job(*EPOCHS, value=10**9), 422, "out_of_range", _AT_EPOCHS, says=("at least 1", "at most")),
    Case("lr 0", job(*LR, value=0), 422, "out_of_range", _AT_LR, says=("at most",)),
    Case("lr -1", job(*LR, value=-1), 422, "out_of_range", _AT_LR, says=("at most",)),
    Case("lr 1e308", job(*LR, value=1e308), 422, "out_of_range", _AT_LR, says=("at most",)),
)

_FORWARD = "/model/modules/Net/forward/0"


def _forward(statement: str):
    return model(module([statement]))


CODE: Row = (
    Case("type os.system", model({"type": "os.system", "command": "id"}), 422, "unknown_type", "/model/type"),
    Case("type __class__", model({"type": "__class__"}), 422, "unknown_type", "/model/type"),
    Case("type Lambda", model({"type": "Lambda"}), 422, "unknown_type", "/model/type"),
    Case("a type with a near name", model({"type": "Linaer"}), 422, "unknown_type", "/model/type", says=("Linear",)),
    Case("code string: a call", model("os.system('id')"), 422, "unknown_function", "/model", says=('"column": 1',)),
    Case("code string: a program", model("import os"), 422, "invalid_expression", "/model", says=('"column"',)),
    Case("code string: __import__", model("__import__('os')"), 422, "invalid_expression", "/model"),
    Case("code string: a lambda", model("lambda x: x"), 422, "invalid_expression", "/model"),
    Case("a function that is none", _forward("return open('x')"), 422, "unknown_function", _FORWARD),
    Case("a function with a near name", _forward("return torch.rleu(x)"), 422, "unknown_function", _FORWARD, ("relu",)),
    Case("dunder in an expression", _forward("return x.__class__"), 422, "invalid_expression", _FORWARD, ('"column"',)),
    Case(
        "attribute in an expression", _forward("return x.grad_fn"), 422, "invalid_expression", _FORWARD, ('"column"',)
    ),
)

_CONV = {"type": "Conv2d", "in_channels": 3, "out_channels": 8, "kernel_size": 3, "groups": 2}


def _linear(size: int):
    return model({"type": "Linear", "in_features": 64, "out_features": size})


SIZES: Row = (
    Case(
        "Linear(out_features=10^12)", _linear(10**12), 422, "dimension_too_large", "/model/out_features", ("1048576",)
    ),
    Case(
        "product over quota",
        model("Sequential(Linear(64, 100000), Linear(100000, 100000), Linear(100000, 10))"),
        422,
        "model_too_large",
        "/model",
        says=("10,007,600,010", "1,000,000,000"),
    ),
    Case("dimension 0", _linear(0), 422, "out_of_range", "/model/out_features", says=("at least 1",)),
    Case("dimension -1", _linear(-1), 422, "out_of_range", "/model/out_features", says=("at least 1",)),
    Case("dimension 2^63", _linear(2**63), 422, "dimension_too_large", "/model/out_features", says=("1048576",)),
    Case("Dropout p=2", model({"type": "Dropout", "p": 2}), 422, "out_of_range", "/model/p", says=("between 0 and 1",)),
    Case("Conv groups that do not divide", model(_CONV), 422, "invalid_argument", "/model", says=("groups",)),
)

SHAPES: Row = (
    Case(
        "adjacent sizes differ",
        model("Sequential(Linear(64, 128), Linear(127, 10))"),
        422,
        "shape_mismatch",
        "/model",
        says=("127", "128", "in_features=128"),
    ),
)

_RECURSIVE = {
    "modules": {
        "A": {"init": [{"b": "B()"}], "forward": ["return self.b(x)"]},
        "B": {"init": [{"a": "A()"}], "forward": ["return self.a(x)"]},
    },
    "model": "A()",
}
_UNUSED = {"modules": {"A": {"forward": ["return x"]}}, "model": "Linear(64, 10)"}
_TWICE = {"type": "Sequential", "layers": [{"a": "ReLU()"}, {"a": "ReLU()"}]}

NAMES: Row = (
    Case("missing reference", _forward("return self.missing(x)"), 422, "unknown_name", _FORWARD, says=("missing",)),
    Case("unused name", model(_UNUSED), 422, "unused_name", "/model/modules/A"),
    Case("duplicate name", model(_TWICE), 422, "duplicate_name", "/model/layers/1/a"),
    Case("recursion of definitions", model(_RECURSIVE), 422, "recursive_definition", "/model/modules/B/init/0/a"),
    Case("repeat 10^9", model("Sequential(*[ReLU() for i in range(10**9)])"), 422, "model_too_large", "/model"),
    Case(
        "nested repeats",
        model(module(["return x"], nested(10, 4, {"x{i}_{j}_{k}_{l}": "Linear(4, 4)"}))),
        422,
        "model_too_large",
        "/model/model",
        says=("10,001 modules",),
    ),
    Case(
        "while without at_most",
        model(module([{"while": "x.norm() > 1", "do": ["x = x / 2"]}, "return x"])),  # type: ignore[list-item]
        422,
        "loop_bound_required",
        _FORWARD,
    ),
)


def _on_data(batch_norm: str, row: int | None = None, label: int = 0, feature: float = 0.0, **data: object):
    """POST a job on forty rows of four numbers with three labels, one row of which is as said."""
    points, labels = np.linspace(0, 1, 160, dtype=np.float32).reshape(40, 4), np.arange(40) % 3
    if row is not None:
        labels[row], points[row, 2] = label, feature

    def send(world: World) -> httpx.Response:
        made = world.client.post("/v1/datasets?format=npz&target=y", content=npz(x=points, y=labels)).json()
        request = changed({**REQUEST, "model": batch_norm}, ("data",), {"dataset": made["id"], **data})
        return world.client.post("/v1/jobs", json=request)

    return send


def _no_rows(world: World) -> httpx.Response:
    return world.client.post("/v1/datasets", json={"columns": {"x": []}})


_NORM = "Sequential(Linear(4, 3), BatchNorm1d(3))"
DATA: Row = (
    Case(
        "label >= classes",
        _on_data("Linear(4, 3)", row=17, label=3),
        422,
        "label_out_of_range",
        "/model",
        says=("row 17",),
    ),
    Case(
        "label below 0",
        _on_data("Linear(4, 3)", row=4, label=-1),
        422,
        "label_out_of_range",
        "/data/target",
        ("row 4",),
    ),
    Case(
        "NaN features",
        _on_data("Linear(4, 3)", row=9, feature=float("nan")),
        422,
        "non_finite_data",
        "/data/inputs/0",
        says=("row 9",),
    ),
    Case("0 rows", _no_rows, 422, "empty_dataset", ""),
    Case("0 rows of a split", _on_data("Linear(4, 3)", split={"train": 0.01}), 422, "empty_dataset", "/data/split"),
    Case(
        "batch of 1 into BatchNorm",
        _on_data(_NORM, batch_size=1),
        422,
        "batchnorm_single_sample",
        "/data/batch_size",
    ),
)
