"""P12: a training step of a transformer block with static execution against dynamic, in turns; the ratio comes last.

The goal, at least 1.3, is for a GPU, where inductor makes the kernels. On a CPU the captured graph runs torch's own
operations one by one; that ratio is printed as it is.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from services.definition import check
from services.modules import build
from services.modules.static.backend import compile_model
from services.modules.static.build import static_variant

BLOCK = {
    "modules": {
        "Block": {
            "parameters": ["width", "heads"],
            "init": [
                {"norm1": "LayerNorm(width)"},
                {"attention": "MultiheadAttention(width, heads, batch_first=True)"},
                {"norm2": "LayerNorm(width)"},
                {"feed": "Sequential(Linear(width, 4 * width), GELU(), Linear(4 * width, width))"},
            ],
            "forward": [
                "h = self.norm1(x)",
                "h, weights = self.attention(h, h, h, need_weights=False)",
                "x = x + h",
                "return x + self.feed(self.norm2(x))",
            ],
        }
    },
    "model": "Block(256, 8)",
}
ROUNDS = 40
SIZES = {"cpu": (8, 64), "cuda": (32, 256)}


def step(call: object, model: nn.Module, inputs: torch.Tensor) -> float:
    begin = time.perf_counter()
    torch.autograd.backward(call(inputs).square().mean())  # type: ignore[operator]
    if inputs.is_cuda:
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - begin
    model.zero_grad(set_to_none=True)
    return elapsed


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    definition = check(BLOCK)
    model, static = build(definition).to(device), static_variant(definition).build().to(device)
    static.load_state_dict(model.state_dict())
    compiled = compile_model(static, device=device)
    inputs = torch.randn(*SIZES[device], 256, device=device)
    first = [step(model, model, inputs), step(compiled.call, static, inputs)]
    for _ in range(3):
        step(model, model, inputs), step(compiled.call, static, inputs)
    rounds = [(step(model, model, inputs), step(compiled.call, static, inputs)) for _ in range(ROUNDS)]
    dynamic, graph = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{device}, backend {compiled.backends[0]}, batch {tuple(inputs.shape)}, {ROUNDS} steps each in turns")
    print(f"{'':10}{'first step s':>14}{'step ms':>10}")
    print(f"{'dynamic':10}{first[0]:14.3f}{dynamic * 1e3:10.3f}")
    print(f"{'static':10}{first[1]:14.3f}{graph * 1e3:10.3f}")
    print(f"dynamic / static: {dynamic / graph:.2f}" + (" (goal 1.3)" if device == "cuda" else " (no goal on a CPU)"))


if __name__ == "__main__":
    main()
