"""An LSTM on a time series from a CSV file: next year's sunspots from those of the last 22 years.

    modelwright up --port 0 -- python examples/lstm_sunspots.py

Data: `data/sunspots.csv`, the yearly mean of Wolf's sunspot number from 1700 to 2008 (public domain: NOAA National
Geophysical Data Center; R ships its beginning as `sunspot.year`).
"""

import argparse
from pathlib import Path

from modelwright import Client

FILE = Path(__file__).parent / "data" / "sunspots.csv"


def main(epochs: int = 60) -> float:
    with Client() as client:
        sunspots = client.upload_dataset(FILE, target="sunspots")
        job = client.train(
            name="lstm-sunspots",
            model={
                "modules": {
                    "Forecast": {
                        "parameters": ["hidden"],
                        "init": [{"lstm": "LSTM(1, hidden, batch_first=True)"}, {"head": "Linear(hidden, 1)"}],
                        # h holds every year's state [B, 22, hidden]; the last year's state says what comes next.
                        "forward": ["h, _ = self.lstm(x)", "return self.head(h[:, -1])"],
                    }
                },
                "model": "Forecast(32)",
                "inputs": [{"name": "x", "shape": ["B", "T", 1]}],
            },
            data={
                "dataset": sunspots,
                "features": {
                    "x": {"columns": ["sunspots"], "normalize": "standardize"},
                    "y": {"columns": ["sunspots"], "normalize": "standardize"},
                },
                "inputs": ["x"],
                "target": "y",
                # Runs of 22 rows; the target, renamed `next_y`, is the row after. No window reaches into another part.
                "window": {"length": 22, "shift": 1, "target": "last"},
                # With windows the parts are runs of years: the last quarter tests, so the future is never trained on.
                "split": {"validation": 0.15, "test": 0.25},
                "batch_size": 16,
            },
            training={
                "epochs": epochs,
                "optimizer": {"type": "Adam", "lr": 0.01},
                "scheduler": {"type": "CosineAnnealingLR"},
                "gradient_clip": {"norm": 1.0},
                "loss": {"type": "MSELoss"},
                # A metric may be an expression of what the model sees and gives: here what a lazy forecast would cost.
                "metrics": [
                    "mean_squared_error",
                    {"name": "like_this_year", "expression": "F.mse_loss(x[:, -1], next_y)"},
                ],
                "early_stopping": {"metric": "validation/loss", "patience": 15, "restore_best": True},
                "seed": 0,
            },
            show=True,
        )
        # Raw values go in, in the order of the years; the forecast comes in their unit, normalization undone.
        last = [float(line.split(",")[1]) for line in FILE.read_text().splitlines()[-22:]]
        (forecast,) = client.predict(job["id"], {"sunspots": last})["predictions"]
    latest = job["progress"]["latest"]
    rows = job["resolved"]["data"]["rows"]
    ratio = latest["test/mean_squared_error"] / latest["test/like_this_year"]
    print(f"trained on {rows['train']} windows, {job['progress']['epoch']} epochs; tested on {rows['test']}")
    print(f"squared error of the forecast: {ratio:.2f} of that of «next year will be like this year»")
    print(f"forecast for 2009: {forecast['value']:.1f} (the sun showed 3.1)")
    return ratio


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=60)
    main(arguments.parse_args().epochs)
