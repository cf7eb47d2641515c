"""A convolutional network on a zipped folder of pictures: the folder that a picture lies in is its class.

    modelwright up --port 0 -- python examples/cnn_images.py

Data: the 1 797 handwritten digits that scikit-learn ships (UCI, doi:10.24432/C50P49, CC BY 4.0), written as PNG files.
"""

import argparse
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from modelwright import Client

TURNED = [{"type": "RandomAffine", "degrees": 10, "translate": [0.1, 0.1], "p": 0.7}]


def main(epochs: int = 12) -> float:
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        pictures = client.upload_dataset(zip_of_digits(Path(folder, "digits.zip")), options={"channels": 1})
        channels, height, width = pictures["columns"]["image"]["shape"]
        classes = pictures["columns"]["label"]["classes"]
        print(f"uploaded {pictures['rows']} pictures of {height} × {width}, {classes} classes")

        job = client.train(
            name="cnn-images",
            model={
                # A block with parameters is written once and used with different numbers, as a class would be.
                "modules": {
                    "Block": {
                        "parameters": ["before", "after"],
                        "init": [
                            {"conv": "Conv2d(before, after, kernel_size=3, padding=1)"},
                            {"norm": "BatchNorm2d(after)"},
                        ],
                        "forward": ["return F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)"],
                    }
                },
                # 8 × 8 pixels → 4 × 4 → 2 × 2. A size that does not fit is refused before anything is trained.
                "model": f"Sequential(Block({channels}, 16), Block(16, 32), Flatten(), Dropout(0.2), "
                f"Linear({32 * (height // 4) * (width // 4)}, {classes}))",
            },
            data={
                "dataset": pictures,
                # Each epoch turns and shifts the training pictures a little (GET /v1/catalog?kind=transform lists what
                # there is). Brightness is normalized by them alone; validation and test pictures are only normalized.
                "features": {"x": {"columns": ["image"], "image": {"transforms": TURNED}, "normalize": "standardize"}},
                "split": {"validation": 0.1, "test": 0.2, "stratify": True, "seed": 0},
                "batch_size": 64,
            },
            training={
                "epochs": epochs,
                "optimizer": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.01},
                "scheduler": {"type": "OneCycleLR", "max_lr": 0.01, "interval": "step"},
                "loss": {"type": "CrossEntropyLoss"},
                "metrics": ["accuracy"],
                "seed": 0,
            },
            show=True,
        )
        accuracy = job["progress"]["latest"]["test/accuracy"]
        print(f"test accuracy {accuracy:.4f} on pictures it never saw; the commonest class alone would give 0.10")
        return accuracy


def zip_of_digits(path: Path) -> Path:
    """Write digits/<class>/<number>.png into a zip archive."""
    digits = load_digits()
    with zipfile.ZipFile(path, "w") as archive:
        for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            picture = io.BytesIO()
            Image.fromarray((pixels * 15).astype(np.uint8)).save(picture, "PNG")
            archive.writestr(f"digits/{label}/{number:04d}.png", picture.getvalue())
    return path


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=12)
    main(arguments.parse_args().epochs)
