"""Graph documents for the tests, written by hand: the article's, a loop over a shared layer, ResNet-18, a GPT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Sketch:
    """Puts a ``graph/1`` document together, operation by operation."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.operations: list[dict[str, Any]] = []
        self.modules: dict[str, dict[str, Any]] = {"": module("", "Net", None)}
        self.loops: list[dict[str, Any]] = []
        self.branches: list[dict[str, Any]] = []
        self.parameters: dict[str, str] = {}

    def data(self, kind: str, name: str | None = None, shape: Sequence[int] = (), **rest: Any) -> str:
        node = {
            "id": f"n{len(self.nodes)}", "kind": kind, "name": name, "shape": list(shape), "dtype": "float32",
            "requires_grad": kind in ("parameter", "value", "output"), "leaf": kind not in ("value", "output"),
            "value": None, "summary": {"min": -2, "max": 2, "mean": 0.02, "std": 1.0, "nan": 0, "inf": 0, "count": 9},
            "gradient": None, "shared_uses": 1,
        } | rest  # fmt: skip
        if isinstance(node["gradient"], float):
            node["gradient"] = {"value": node["gradient"], "summary": None, "norm": abs(node["gradient"])}
        self.nodes.append(node)
        return node["id"]

    def parameter(self, name: str, shape: Sequence[int], kind: str = "parameter", **rest: Any) -> str:
        if name not in self.parameters:
            self.parameters[name] = self.data(kind, name, shape, **rest)
        return self.parameters[name]

    def apply(self, name: str, inputs: Sequence[str], output: str, **rest: Any) -> str:
        operation = {
            "id": f"e{len(self.operations)}", "name": name, "torch": f"torch.{name}", "inputs": list(inputs),
            "outputs": [output], "arguments": {}, "module": "", "call": 1, "pointer": None, "column": None,
            "line": None, "source": None, "loops": [], "branches": [], "backward": None, "in_place": False,
            "first_non_finite": False,
        } | rest  # fmt: skip
        self.operations.append(operation)
        return output

    def layer(self, path: str, type_: str, name: str, x: str, shape: Sequence[int], **rest: Any) -> str:
        """Call a layer with weight and bias (drawn once, however often it is called)."""
        call = self.called(path, type_)
        inputs = [x]
        if rest.pop("weights", True):
            inputs += [self.parameter(f"{path}.weight", [8, 8]), self.parameter(f"{path}.bias", [8])]
        return self.apply(name, inputs, self.data("value", None, shape), module=path, call=call, **rest)

    def called(self, path: str, type_: str) -> int:
        made = self.modules.setdefault(path, module(path, type_, path.rpartition(".")[0], calls=0))
        made["calls"] += 1
        made["shared"] = made["calls"] > 1
        return made["calls"]

    def document(self, *outputs: str, **rest: Any) -> dict[str, Any]:
        norms = {one["id"]: (one["gradient"] or {}).get("norm") for one in self.nodes}
        for one in self.operations:
            one.setdefault("input_gradients", [norms[key] for key in one["inputs"]])
        return {
            "format": "graph/1", "nodes": self.nodes, "operations": self.operations,
            "modules": list(self.modules.values()), "loops": self.loops, "branches": self.branches,
            "outputs": list(outputs), "totals": {}, "truncated": None, "backward": None,
        } | rest  # fmt: skip


def module(path: str, type_: str, parent: str | None, calls: int = 1) -> dict[str, Any]:
    return {"path": path, "type": type_, "parent": parent, "calls": calls, "shared": calls > 1, "parameters": 72}


def article() -> dict[str, Any]:
    """y = (x1 + w)(x2 + w) at x1 = 1, w = 2, x2 = 3: dy/dw = 5 + 3."""
    s = Sketch()
    x1 = s.data("input", "x1", value=1.0, requires_grad=True, gradient=5.0)
    x2 = s.data("input", "x2", value=3.0, requires_grad=True, gradient=3.0)
    w = s.parameter("w", (), value=2.0, gradient=8.0)
    a = s.apply(
        "add",
        [x1, w],
        s.data("value", "a", value=3.0, gradient=5.0),
        source="a = x1 + self.w",
        input_gradients=[5.0, 5.0],
    )
    b = s.apply(
        "add",
        [x2, w],
        s.data("value", "b", value=5.0, gradient=3.0),
        source="b = x2 + self.w",
        input_gradients=[3.0, 3.0],
    )
    y = s.apply("mul", [a, b], s.data("output", "y", value=15.0, gradient=1.0), pointer="/modules/Net/forward/body/2")
    return s.document(y)


def shared_in_a_loop(turns: int = 3) -> dict[str, Any]:
    """One layer, called in each turn; the hidden state goes from turn to turn; a branch at the end."""
    s, pointer = Sketch(), "/modules/Net/forward/body/0"
    h = s.data("input", "x", [2, 8])
    for turn in range(1, turns + 1):
        where = {"loops": [{"pointer": pointer, "turn": turn}]}
        z = s.layer("cell", "Linear", "linear", h, [2, 8], **where)
        h = s.apply("tanh", [z], s.data("value", "h", [2, 8]), **where)
    s.loops.append({"pointer": pointer, "kind": "for", "turns": turns, "at_most": None})
    taken = [{"pointer": "/modules/Net/forward/body/1", "taken": "then"}]
    s.branches.append({"pointer": "/modules/Net/forward/body/1", "condition": "h.norm() < 0.8", "taken": ["then"]})
    half = s.data("constant", None, value=0.5)
    y = s.apply("mul", [h, half], s.data("output", "h", [2, 8]), branches=taken)
    return s.document(y)


def not_finite() -> dict[str, Any]:
    """0 / 0 in the middle."""
    s = Sketch()
    x = s.data("input", "x", [4], value=[0.0, 1.0, "Infinity", -1.0])
    bad = {"value": ["NaN", 1.0, "NaN", 1.0], "summary": {"mean": None, "nan": 2, "inf": 0, "count": 4}}
    y = s.apply("div", [x, x], s.data("value", None, [4], **bad), first_non_finite=True)
    z = s.apply("sum", [y], s.data("output", None, value="NaN", summary={"nan": 1, "inf": 0, "count": 1}))
    return s.document(z)


def resnet18() -> dict[str, Any]:
    s = Sketch()
    x = s.layer("conv1", "Conv2d", "conv2d", s.data("input", "image", [8, 3, 224, 224]), [8, 64, 112, 112])
    x = _layer(s, "relu", "ReLU", _norm(s, "bn1", x))
    x = _layer(s, "maxpool", "MaxPool2d", x)
    for stage in range(1, 5):
        s.called(f"layer{stage}", "Sequential")
        for block in range(2):
            x = _basic_block(s, f"layer{stage}.{block}", x, down=stage > 1 and block == 0)
    x = s.apply("flatten", [_layer(s, "avgpool", "AdaptiveAvgPool2d", x)], s.data("value", None, [8, 512]))
    logits = s.layer("fc", "Linear", "linear", x, [8, 1000])
    s.nodes[-1]["kind"] = "output"
    return s.document(logits)


def gpt(blocks: int = 12) -> dict[str, Any]:
    """A small GPT whose blocks stand in a ModuleList and are called in a loop; its head shares the embedding."""
    s, pointer = Sketch(), "/modules/Net/forward/body/1"
    ids = s.data("input", "ids", [4, 64], dtype="int64")
    x = s.layer("wte", "Embedding", "embedding", ids, [4, 64, 256])
    s.modules["h"] = module("h", "ModuleList", "", calls=0)
    for index in range(blocks):
        x = _block(s, f"h.{index}", x, [{"pointer": pointer, "turn": index + 1}])
    s.loops.append({"pointer": pointer, "kind": "for", "turns": blocks, "at_most": None})
    x = s.layer("ln_f", "LayerNorm", "layer_norm", x, [4, 64, 256])
    logits = s.data("output", "logits", [4, 64, 1000])
    return s.document(s.apply("linear", [x, s.parameters["wte.weight"]], logits))


def _layer(s: Sketch, path: str, type_: str, x: str) -> str:
    return s.layer(path, type_, path.rpartition(".")[2], x, [8, 64, 56, 56], weights=False)


def _norm(s: Sketch, path: str, x: str) -> str:
    s.parameter(f"{path}.running_mean", [64], "buffer")
    s.layer(path, "BatchNorm2d", "batch_norm", x, [8, 64, 56, 56])
    s.operations[-1]["inputs"].append(s.parameters[f"{path}.running_mean"])
    return s.nodes[-1]["id"]


def _basic_block(s: Sketch, path: str, x: str, *, down: bool) -> str:
    s.called(path, "BasicBlock")
    y = _layer(s, f"{path}.relu", "ReLU", _norm(s, f"{path}.bn1", _convolved(s, f"{path}.conv1", x)))
    y = _norm(s, f"{path}.bn2", _convolved(s, f"{path}.conv2", y))
    if down:
        s.called(f"{path}.downsample", "Sequential")
        x = _norm(s, f"{path}.downsample.1", _convolved(s, f"{path}.downsample.0", x))
    y = s.apply("add", [y, x], s.data("value", "out", [8, 64, 56, 56]), module=path)
    return _layer(s, f"{path}.relu", "ReLU", y)


def _convolved(s: Sketch, path: str, x: str) -> str:
    return s.layer(path, "Conv2d", "conv2d", x, [8, 64, 56, 56])


def _block(s: Sketch, path: str, x: str, loops: list[dict[str, Any]]) -> str:
    shape, where = [4, 64, 256], {"loops": loops}
    s.called(path, "Block")
    y = s.layer(f"{path}.ln_1", "LayerNorm", "layer_norm", x, shape, **where)
    s.called(f"{path}.attn", "Attention")
    inner = {"module": f"{path}.attn", **where}
    parts = [s.layer(f"{path}.attn.{one}", "Linear", "linear", y, shape, **where) for one in ("q", "k", "v")]
    heads = [s.apply("unflatten", [part], s.data("value", None, [4, 4, 64, 64]), **inner) for part in parts]
    mixed = s.apply("scaled_dot_product_attention", heads, s.data("value", None, [4, 4, 64, 64]), **inner)
    y = s.layer(f"{path}.attn.out", "Linear", "linear", mixed, shape, **where)
    x = s.apply("add", [x, y], s.data("value", "x", shape), module=path, **where)
    y = s.layer(f"{path}.ln_2", "LayerNorm", "layer_norm", x, shape, **where)
    s.called(f"{path}.mlp", "Sequential")
    y = s.layer(f"{path}.mlp.0", "Linear", "linear", y, [4, 64, 1024], **where)
    y = s.layer(f"{path}.mlp.1", "GELU", "gelu", y, [4, 64, 1024], weights=False, **where)
    y = s.layer(f"{path}.mlp.2", "Linear", "linear", y, shape, **where)
    return s.apply("add", [x, y], s.data("value", "x", shape), module=path, **where)
