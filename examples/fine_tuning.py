"""Fine-tuning: a network that names digits learns to say from 20 pictures whether one is prime, most of it frozen.

    modelwright up --port 0 -- python examples/fine_tuning.py

Data: the handwritten digits that scikit-learn ships (UCI, doi:10.24432/C50P49, CC BY 4.0), as two .npz files: a
thousand with their names, the other 797 with 1 where the digit is prime (2, 3, 5, 7).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from modelwright import Client

NETWORK = (
    "Sequential(Conv2d(1, 32, kernel_size=3, padding=1), BatchNorm2d(32), ReLU(), MaxPool2d(2), Flatten(), "
    "Linear(512, 64), ReLU(), Linear(64, 10))"
)
PLAN = {"loss": {"type": "CrossEntropyLoss"}, "metrics": ["accuracy"], "seed": 0}
PICTURES = 20


def main(epochs: int = 10) -> tuple[float, float]:
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        names, primes = (client.upload_dataset(file, target="label") for file in files_of_digits(Path(folder)))

        # 1. A network learns the names of the digits.
        model = client.create_model(NETWORK)
        first = client.train(
            name="fine-tuning/names",
            model=model["id"],
            data={"dataset": names, "split": {"test": 0.2, "stratify": True}, "batch_size": 32},
            training={**PLAN, "epochs": epochs, "optimizer": {"type": "Adam", "lr": 0.002}},
            show=True,
        )
        print(f"names, from 800 pictures: test accuracy {first['progress']['latest']['test/accuracy']:.3f}")
        checkpoint = client.find_checkpoint(first["id"])

        # 2. Its last layer gives way to one with two answers. `edited["weights"]` says what carries over.
        change = {"op": "replace", "path": "7", "module": "Linear(64, 2)"}
        edited = client.edit_model(model["id"], [change], checkpoint=checkpoint["id"])

        # 3. The new network begins with the old one's weights; only the new layer is trained.
        data = {
            "dataset": primes,
            "split": {"train": PICTURES / primes["rows"], "test": 0.9, "stratify": True, "seed": 0},
            "batch_size": 10,
        }
        training = {**PLAN, "epochs": 3 * epochs, "optimizer": {"type": "Adam", "lr": 0.01}}
        tuned = client.train(
            name="fine-tuning/primes",
            model=edited["model"]["id"],
            data=data,
            init_from=checkpoint["id"],
            training={**training, "freeze": ["0.*", "1.*", "5.*"]},
            show=True,
        )
        report = tuned["resolved"]["init_from"]["report"]
        print(f"taken over: {', '.join(report['loaded'])}")
        print(f"new:        {', '.join(report['missing'] + [one['name'] for one in report['mismatched']])}")

        # 4. For comparison: the same network and the same pictures, all of it from nothing.
        scratch = client.train(
            name="fine-tuning/from nothing", model=edited["model"]["id"], data=data, training=training
        )

    tuned_accuracy, accuracy = (job["progress"]["latest"]["test/accuracy"] for job in (tuned, scratch))
    print(f"prime or not, from {PICTURES} pictures: fine-tuned {tuned_accuracy:.3f}, from nothing {accuracy:.3f}")
    print("to say «not prime» always would give 0.6")
    return tuned_accuracy, accuracy


def files_of_digits(folder: Path) -> tuple[Path, Path]:
    """Write two files of pictures [1, 8, 8] from 0 to 1; no picture is in both."""
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    first, rest = np.split(np.random.default_rng(0).permutation(len(images)), [1000])
    np.savez(folder / "names.npz", image=images[first], label=digits.target[first])
    np.savez(folder / "primes.npz", image=images[rest], label=np.isin(digits.target[rest], [2, 3, 5, 7]).astype(int))
    return folder / "names.npz", folder / "primes.npz"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=10)
    main(arguments.parse_args().epochs)
