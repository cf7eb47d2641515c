"""Random definitions either are refused with a pointer, or build, run, and survive source → class → equal outputs."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from services.definition import check
from services.errors import InvalidRequest
from services.modules import build, preflight, source

WIDTHS = st.sampled_from([3, 4, 5])
POINTWISE = st.sampled_from(["ReLU()", "Tanh()", "GELU()", "Dropout(0.5)", "Identity()", "ELU(alpha=0.5)"])
EXPRESSIONS = st.sampled_from(
    [
        "x + 1",
        "x * self.scale",
        "torch.tanh(x)",
        "F.relu(x) - x.mean()",
        "x / (1 + x.abs())",
        "x - self.shift",
        "torch.cat([x, x], dim=1)",
        "x[:, :3]",
        "self.layer(x)",
        "self.layers[0](x)",
        "x if self.training else -x",
        "x @ self.matrix",
        "x.unknown()",
        "self.absent(x)",
    ]
)


@st.composite
def layers(draw: st.DrawFn, width: int) -> tuple[list[str], int]:
    """Draw a chain whose sizes mostly match, and the width that it ends with."""
    chain = []
    for _ in range(draw(st.integers(1, 4))):
        after = draw(WIDTHS)
        before = width if draw(st.integers(0, 9)) else draw(WIDTHS)
        kind = draw(st.sampled_from([f"Linear({before}, {after})", f"BatchNorm1d({width})", draw(POINTWISE)]))
        width = after if kind.startswith("Linear") else width
        chain.append(kind)
    return chain, width


@st.composite
def bodies(draw: st.DrawFn, depth: int = 0) -> list[Any]:
    """Draw statements: assignments, branches, bounded loops."""
    body: list[Any] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["assign", "assign", "augment", "if", "for", "while"])) if depth < 2 else "assign"
        if kind == "assign":
            body.append(f"x = {draw(EXPRESSIONS)}")
        elif kind == "augment":
            body.append(f"x = x {draw(st.sampled_from('+-*'))} {draw(st.integers(1, 3))}")
        elif kind == "if":
            test = draw(st.sampled_from(["x.sum() > 0", "self.training", "x.shape[1] > 3"]))
            body.append({"if": test, "then": draw(bodies(depth + 1)), "else": draw(bodies(depth + 1))})
        elif kind == "for":
            body.append({"for": f"i in range({draw(st.integers(0, 3))})", "do": draw(bodies(depth + 1))})
        else:
            body.append({"while": "x.norm() > 10", "at_most": 50, "do": ["x = x / 2"]})
    return body


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a whole document: a chain, a module of one's own, and what stands between them."""
    chain, width = draw(layers(4))
    init = [
        {"layer": f"Linear({width}, {width})"},
        {"layers": f"ModuleList([Linear({width}, {width}), ReLU()])"},
        {"scale": {"parameter": f"randn({width})"}},
        {"shift": {"buffer": f"rand({width})"}},
        {"matrix": {"parameter": f"randn({width}, {width})", "trainable": draw(st.booleans())}},
    ]
    kept = [item for item in init if draw(st.integers(0, 9))]
    return {
        "format": "model/1",
        "modules": {"Own": {"init": kept, "forward": [*draw(bodies()), "return x"]}},
        "model": f"Sequential({', '.join([*chain, 'Own()'])})",
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["B", 4]}],
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), st.integers(0, 2**31 - 1))
def test_a_random_definition_is_refused_with_a_pointer_or_survives_source_to_class(
    document: dict[str, Any], seed: int
) -> None:
    try:
        definition = check(document)
        preflight(definition)
    except InvalidRequest as refusal:
        event(f"refused: {refusal.code}")
        assert all(problem.pointer.startswith(("/model", "/modules", "/inputs")) for problem in refusal.problems)
        assert all(problem.code and problem.detail for problem in refusal.problems)
        return
    event("built")
    namespace: dict[str, Any] = {"__name__": "downloaded"}
    exec(source(definition), namespace)
    torch.manual_seed(seed)
    ours = build(definition)
    torch.manual_seed(seed)
    theirs = namespace["build_model"]()
    mine, downloaded = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(downloaded)
    assert all(torch.equal(mine[name], downloaded[name]) for name in mine)
    batch = torch.randn(3, 4)
    for mode in (True, False):
        assert _result(ours.train(mode), batch, seed) == _result(theirs.train(mode), batch, seed)


def _result(net: torch.nn.Module, batch: torch.Tensor, seed: int) -> tuple[str, bytes]:
    """Return the output to the bit; a shape that only this data meets fails alike on both sides."""
    torch.manual_seed(seed)
    try:
        output = net(batch.clone())
    except (RuntimeError, IndexError) as error:
        return type(error).__name__, b""
    return str(tuple(output.shape)), output.detach().numpy().tobytes()
