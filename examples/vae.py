"""A variational autoencoder with a loss of its own, then new digits drawn from it in plain PyTorch.

    modelwright up --port 0 -- python examples/vae.py

The whole request is `vae.json`, which needs no Python: `modelwright submit examples/vae.json --watch`.
Data: the built-in `digits` (UCI, doi:10.24432/C50P49, CC BY 4.0).
"""

import argparse
import json
import runpy
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from modelwright import Client

REQUEST = json.loads(Path(__file__).with_suffix(".json").read_text())


def main(epochs: int = 60) -> float:
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        model = client.create_model(REQUEST["model"])
        job = client.train(REQUEST, training={**REQUEST["training"], "epochs": epochs}, show=True)

        # Each term of the loss is a series of its own, beside their total.
        latest = job["progress"]["latest"]
        print(f"test loss {latest['test/loss']:.2f} = {latest['test/loss/bce']:.2f} + {latest['test/loss/kld']:.2f}")
        ratio = latest["test/error"] / latest["test/error_of_the_mean_picture"]
        print(f"squared error of a picture made again: {ratio:.2f} of what the mean picture has")

        # The service hands out the model as plain PyTorch source; the weights fit it by name.
        source = Path(folder, "model.py")
        source.write_text(client.model_source(model["id"]))
        net = runpy.run_path(str(source))["build_model"]()
        net.load_state_dict(load_file(client.download(job["id"], folder)))

    torch.manual_seed(1)
    with torch.no_grad():
        pictures = net.decoder(torch.randn(6, 8)).view(6, 8, 8)
    print("six digits that nobody wrote:")
    for row in pictures.transpose(0, 1):
        print("   ".join("".join(" .:-=+*#%@"[int(pixel * 9.99)] * 2 for pixel in line) for line in row))
    return ratio


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=60)
    main(arguments.parse_args().epochs)
