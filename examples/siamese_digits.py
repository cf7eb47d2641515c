"""A siamese network: one encoder, called twice, learns whether two pictures show the same digit.

    modelwright up --port 0 -- python examples/siamese_digits.py

Data: pairs of the handwritten digits that scikit-learn ships (UCI, doi:10.24432/C50P49, CC BY 4.0), as a Parquet file.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

from modelwright import Client

PAIRS = {"train": 6000, "validation": 1000, "test": 1000}


def main(epochs: int = 15) -> float:
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        pairs = client.upload_dataset(parquet_of_pairs(Path(folder, "pairs.parquet")), target="same")
        job = client.train(
            name="siamese-digits",
            model={
                "modules": {
                    "Siamese": {
                        "init": [{"encoder": "Sequential(Linear(64, 64), ReLU(), Linear(64, 16))"}],
                        # Both calls use the same weights; a gradient comes back along both ways and is added up.
                        "forward": {
                            "arguments": ["left", "right"],
                            "body": ["return (self.encoder(left) - self.encoder(right)).norm(dim=1)"],
                        },
                    }
                },
                "model": "Siamese()",
                "inputs": [{"name": "left", "shape": ["B", 64]}, {"name": "right", "shape": ["B", 64]}],
                "outputs": ["distance"],
            },
            data={
                "dataset": pairs,
                "inputs": ["left", "right"],
                # The file says which pair goes where, so that no picture is both trained and tested on.
                "split": {"column": "part"},
                "batch_size": 64,
            },
            training={
                "epochs": epochs,
                "optimizer": {"type": "Adam", "lr": 0.002},
                # The contrastive loss (Hadsell, Chopra and LeCun, 2006): like attracts like.
                "loss": {
                    "terms": {
                        "together": "(same * distance.pow(2)).mean()",
                        "apart": "((1 - same) * F.relu(2.0 - distance).pow(2)).mean()",
                    }
                },
                "metrics": [{"name": "right", "expression": "((distance < 1.0) == (same > 0.5)).float().mean()"}],
                "seed": 0,
            },
            show=True,
        )
    right = job["progress"]["latest"]["test/right"]
    print(f"told right: {right:.3f} of {PAIRS['test']} pairs of pictures it never saw; a coin gets 0.5")
    return right


def parquet_of_pairs(path: Path) -> Path:
    """Write pairs, half of them of the same digit; each part has pictures of its own."""
    digits, generator = load_digits(), np.random.default_rng(0)
    order = generator.permutation(len(digits.data))
    shares = dict(zip(PAIRS, np.split(order, [1200, 1500]), strict=True))
    left, right, parts = [], [], []
    for part, count in PAIRS.items():
        for number in range(count):
            one = generator.choice(shares[part])
            alike = digits.target[shares[part]] == digits.target[one]
            left.append(one)
            right.append(generator.choice(shares[part][alike if number % 2 else ~alike]))
            parts.append(part)
    pixels = digits.data.astype(np.float32) / 16
    same = (digits.target[left] == digits.target[right]).astype(np.float32)
    table = {"left": list(pixels[left]), "right": list(pixels[right]), "same": same, "part": parts}
    pq.write_table(pa.table(table), path)
    return path


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=15)
    main(arguments.parse_args().epochs)
