"""Trains a multilayer perceptron on handwritten digits, then uses it as plain PyTorch: what `make demo` shows.

Runs against any service: start one with `modelwright up`, or let one live as long as this script does:

    modelwright up --port 0 -- python examples/digits_mlp.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import nn

from modelwright import Client
from modelwright.cli.tables import failure_text
from modelwright.cli.up import program_name
from modelwright.cli.watching import follow

JOB_FILE = Path(__file__).with_name("digits_mlp.json")


def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    job_request = json.loads(JOB_FILE.read_text())

    with Client() as client, tempfile.TemporaryDirectory() as folder:
        job = client.submit(job_request)
        console.print(f"[bold]1[/] POST {client.url}/v1/jobs  →  {job['id']}, {job['model']['total']:,} parameters")

        job = follow(client.watch(job["id"]), console, as_json=False)
        if job["state"] != "succeeded":
            console.print(f"The job is {job['state']}.", failure_text(job["error"]) if job["error"] else "")
            return 1
        newest = job["progress"]["latest"]
        console.print(
            f"[bold]2[/] trained {job['progress']['step']} steps: loss {newest['train/loss']:.4f}, "
            f"validation accuracy {newest['validation/accuracy']:.4f}"
        )

        checkpoint = client.find_checkpoint(job["id"])
        weights = client.download(checkpoint["id"], folder)
        console.print(
            f"[bold]3[/] downloaded {weights.stat().st_size:,} bytes, sha256 verified: {checkpoint['sha256'][:16]}…"
        )

        accuracy = test_accuracy(weights, job["resolved"]["data"]["split"])

    console.print(f"[bold]4[/] loaded into plain PyTorch: test accuracy [bold green]{accuracy:.4f}[/]")
    print_where_next(console)
    return 0 if accuracy >= 0.95 else 1


def test_accuracy(weights: Path, split: dict[str, float]) -> float:
    """Load the weights into an ordinary module of the same names, and count hits on rows that training never saw."""
    model = nn.Sequential(
        OrderedDict(hidden_layer=nn.Linear(64, 128), activation=nn.ReLU(), output_layer=nn.Linear(128, 10))
    )
    model.load_state_dict(load_file(weights))
    model.eval()

    digits = load_digits()
    pixels = torch.from_numpy((digits.data / 16).astype(np.float32))
    labels = torch.from_numpy(digits.target)
    rows = test_rows(len(labels), split)
    with torch.no_grad():
        return float((model(pixels[rows]).argmax(dim=1) == labels[rows]).float().mean())


def test_rows(count: int, split: dict[str, float]) -> np.ndarray:
    """The service's rule: a seeded permutation of all rows, of which the first are the test rows."""
    return np.random.default_rng(int(split["seed"])).permutation(count)[: round(count * split["test"])]


def print_where_next(console: Console) -> None:
    modelwright = program_name()
    console.print("\nWhere to look next")
    for command, why in (
        ("make up", "keep a service running (its address and key are found by themselves)"),
        (f"{modelwright} submit examples/digits_mlp.json --watch", "this job from the command line"),
        (f"{modelwright} jobs", "what was trained; also: show, cancel, download"),
        ("examples/digits_mlp.json", "the model, data and plan that were posted: change them"),
        ("README.md", "the same with curl"),
    ):
        console.print(f"  [cyan]{command}[/]\n      {why}")


if __name__ == "__main__":
    sys.exit(main())
