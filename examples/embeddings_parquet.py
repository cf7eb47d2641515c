"""Regression on a table with categories: each category has a vector of its own that is learned (an embedding).

    modelwright up --port 0 -- python examples/embeddings_parquet.py

Data: diabetes, 442 patients, as scikit-learn ships it unscaled (Efron, Hastie, Johnstone and Tibshirani, Least Angle
Regression, 2004; BSD-3-Clause as distributed with scikit-learn), written as a Parquet file.
"""

import argparse
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_diabetes

from modelwright import Client

NUMBERS = ["bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


def main(epochs: int = 60) -> float:
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        patients = client.upload_dataset(parquet_of_patients(Path(folder, "patients.parquet")), target="progression")
        decades, sexes = (patients["columns"][name]["classes"] for name in ("decade", "sex"))
        print(f"decades of age: {', '.join(patients['columns']['decade']['class_names'])}")

        job = client.train(
            name="embeddings-parquet",
            model={
                "modules": {
                    "Tabular": {
                        "parameters": ["decades", "sexes", "numbers", {"name": "width", "default": 32}],
                        "init": [
                            {"decade_vectors": "Embedding(decades, 4)"},
                            {"sex_vectors": "Embedding(sexes, 2)"},
                            {"body": "Sequential(Linear(6 + numbers, width), ReLU(), Dropout(0.2), Linear(width, 1))"},
                        ],
                        "forward": {
                            "arguments": ["decade", "sex", "measured"],
                            "body": [
                                "known = [self.decade_vectors(decade), self.sex_vectors(sex), measured]",
                                "return self.body(torch.cat(known, dim=1))",
                            ],
                        },
                    }
                },
                "model": f"Tabular({decades}, {sexes}, {len(NUMBERS)})",
                # Three inputs, in calling order. Categories come as class numbers, as an embedding wants them.
                "inputs": [
                    {"name": "decade", "dtype": "int64", "shape": ["B"]},
                    {"name": "sex", "dtype": "int64", "shape": ["B"]},
                    {"name": "measured", "shape": ["B", len(NUMBERS)]},
                ],
            },
            data={
                "dataset": patients,
                "features": {
                    "measured": {"columns": NUMBERS, "normalize": "standardize"},
                    "outcome": {"columns": ["progression"], "normalize": "standardize"},
                },
                "target": "outcome",
                "split": {"validation": 0.15, "test": 0.25, "seed": 1},
                "batch_size": 32,
            },
            training={
                "epochs": epochs,
                # The embeddings learn at another rate than the rest, and without weight decay.
                "optimizer": {
                    "type": "AdamW",
                    "lr": 0.003,
                    "weight_decay": 0.1,
                    "groups": [{"match": "*_vectors.*", "lr": 0.01, "weight_decay": 0.0}],
                },
                "loss": {"type": "HuberLoss"},
                "metrics": ["r2", "mean_absolute_error"],
                "early_stopping": {"metric": "validation/loss", "patience": 15, "restore_best": True},
                "seed": 0,
            },
            show=True,
        )
        # A patient as the file has them: categories by their names, numbers as measured.
        someone = {"decade": "50s", "sex": "second", "bmi": 32.1, "bp": 101, "s1": 157, "s2": 93.2, "s3": 38}
        someone |= {"s4": 4, "s5": 4.8598, "s6": 87}
        (prediction,) = client.predict(job["id"], [someone])["predictions"]
    r2 = job["progress"]["latest"]["test/r2"]
    print(f"R² on patients it never saw: {r2:.2f}; to say the mean for everybody would give 0")
    print(f"progression of one patient: predicted {prediction['value']:.0f}, measured 151")
    return r2


def parquet_of_patients(path: Path) -> Path:
    """Write the patients with `sex` and `decade` as columns of categories."""
    bunch = load_diabetes(scaled=False)
    columns = dict(zip(bunch.feature_names, bunch.data.T, strict=True))
    decade = pa.array([f"{int(age) // 10}0s" for age in columns["age"]]).dictionary_encode()
    sex = pa.array([("first", "second")[int(code) - 1] for code in columns["sex"]]).dictionary_encode()
    table = {"decade": decade, "sex": sex, **{name: columns[name] for name in NUMBERS}, "progression": bunch.target}
    pq.write_table(pa.table(table), path)
    return path


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=60)
    main(arguments.parse_args().epochs)
