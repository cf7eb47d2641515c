"""A small GPT that learns to write, character by character, from one text file; then it writes, in plain PyTorch.

    modelwright up --port 0 -- python examples/char_gpt.py [your.txt]

Data: without a file of yours, the reference that Python's own `help()` shows (it comes with every Python; PSF-2.0).
"""

import argparse
import collections
import math
import pydoc_data.topics
import runpy
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from modelwright import Client

LENGTH = 64
"""Characters that the model looks back on."""

GPT = {
    "Attention": {
        "parameters": ["width", "heads"],
        "init": [{"qkv": "Linear(width, 3 * width)"}, {"out": "Linear(width, width)"}],
        "forward": [
            "B, T, C = x.shape",
            "parts = self.qkv(x).chunk(3, dim=2)",
            "q, k, v = [part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in parts]",
            "y = F.scaled_dot_product_attention(q, k, v, is_causal=True)",
            "return self.out(y.transpose(1, 2).reshape(B, T, C))",
        ],
    },
    "Block": {
        "parameters": ["width", "heads"],
        "init": [
            {"norm1": "LayerNorm(width)"},
            {"attention": "Attention(width, heads)"},
            {"norm2": "LayerNorm(width)"},
            {"mlp": "Sequential(Linear(width, 4 * width), GELU(), Linear(4 * width, width))"},
        ],
        "forward": ["x = x + self.attention(self.norm1(x))", "return x + self.mlp(self.norm2(x))"],
    },
    "GPT": {
        "parameters": ["vocabulary", "length", "width", "heads", "depth"],
        "init": [
            {"characters": "Embedding(vocabulary, width)"},
            {"places": "Embedding(length, width)"},
            {"blocks": "ModuleList([Block(width, heads) for _ in range(depth)])"},
            {"norm": "LayerNorm(width)"},
            {"head": "Linear(width, vocabulary, bias=False)"},
            {"tie": ["characters.weight", "head.weight"]},
            {"weights": [{"type": ["Linear", "Embedding"], "init": "normal_(mean=0.0, std=0.02)"}]},
        ],
        "forward": [
            "h = self.characters(x) + self.places(torch.arange(x.shape[1], device=x.device))",
            {"for": "block in self.blocks", "do": ["h = block(h)"]},
            # The loss wants [B, classes, T].
            "return self.head(self.norm(h)).transpose(1, 2)",
        ],
    },
}


def main(file: Path | None = None, steps: int = 1200) -> float:
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        file = file or python_reference(Path(folder, "python-reference.txt"))
        text = client.upload_dataset(file, format="text")
        vocabulary = text["columns"]["character"]["class_names"]
        model = client.create_model(
            {
                "modules": GPT,
                "model": f"GPT(vocabulary={len(vocabulary)}, length={LENGTH}, width=64, heads=4, depth=2)",
                "inputs": [{"name": "x", "column": "character", "dtype": "int64", "shape": ["B", "T"]}],
            }
        )
        print(f"{text['rows']:,} characters, {len(vocabulary)} of them different")
        print(f"{model['parameters']['total']:,} parameters")

        job = client.train(
            name="char-gpt",
            model=model["id"],
            # A window at every 16th character; the target, `next_character`, is the same run one character on.
            data={
                "dataset": text,
                "window": {"length": LENGTH, "stride": 16},
                "split": {"validation": 0.05},
                "batch_size": 32,
            },
            training={
                "steps": steps,
                "optimizer": {"type": "AdamW", "lr": 0.005, "betas": [0.9, 0.99], "weight_decay": 0.1},
                "warmup": {"steps": steps // 15, "start_factor": 0.1},
                "scheduler": {"type": "CosineAnnealingLR", "interval": "step"},
                "gradient_clip": {"norm": 1.0},
                "loss": {"type": "CrossEntropyLoss"},
                "seed": 0,
            },
            show=True,
        )
        loss = job["progress"]["latest"]["validation/loss"]
        print(f"nats a character, on the end of the file, which it never saw: {loss:.2f}")
        print(f"by the frequencies of the characters alone: {entropy(file.read_text(encoding='utf-8')):.2f}")

        source = Path(folder, "model.py")
        source.write_text(client.model_source(model["id"]))
        net = runpy.run_path(str(source))["build_model"]()
        net.load_state_dict(load_file(client.download(job["id"], folder)))
    print("it writes:\n" + written(net, vocabulary, "The "))
    return loss


@torch.no_grad()
def written(net: nn.Module, vocabulary: list[str], beginning: str, count: int = 400, warmth: float = 0.6) -> str:
    """Draw one character after another from what the model expects next."""
    torch.manual_seed(0)
    codes = [vocabulary.index(character) for character in beginning]
    for _ in range(count):
        expected = net.eval()(torch.tensor([codes[-LENGTH:]]))[0, :, -1]
        codes.append(int(torch.multinomial((expected / warmth).softmax(0), 1)))
    return "".join(vocabulary[code] for code in codes)


def python_reference(path: Path) -> Path:
    """Write the prose of the reference, without indents, tables and empty lines."""
    lines = [line.strip() for topic in pydoc_data.topics.topics.values() for line in topic.splitlines()]
    prose = [line for line in lines if line and line[0] not in "+|*-=" and line[-1] != "|"]
    path.write_text("\n".join(prose), encoding="utf-8")
    return path


def entropy(text: str) -> float:
    counts = collections.Counter(text).values()
    return -sum(count / len(text) * math.log(count / len(text)) for count in counts)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file", nargs="?", type=Path)
    arguments.add_argument("--steps", type=int, default=1200)
    main(**vars(arguments.parse_args()))
