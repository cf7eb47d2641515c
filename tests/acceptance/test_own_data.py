"""A tenant's own data over real HTTP: a file up, a model trained on it, in all its parts by real processes."""

import hashlib

from tests.services.datasets.files import image_folder
from tests.stack import Stack

PLAN = {"epochs": 30, "optimizer": {"type": "Adam", "lr": 0.05}, "seed": 1}


def table(rows: int) -> bytes:
    lines = ["length,width,colour,kind"]
    for row in range(rows):
        red = row % 2
        lines.append(f"{row % 7 + 10 * red},{row % 5},{('blue', 'red')[red]},{('small', 'large')[red]}")
    return "\n".join(lines).encode() + b"\n"


def test_a_table_goes_up_in_parts_and_a_model_is_trained_on_it(service: Stack) -> None:
    client, content = service.client, table(200)
    sha256 = hashlib.sha256(content).hexdigest()
    begun = client.post("/v1/datasets", json={"name": "fish", "format": "csv", "sha256": sha256}).json()
    for number, start in enumerate(range(0, len(content), 1000), 1):
        assert client.put(f"{begun['links']['parts']}/{number}", content=content[start : start + 1000]).is_success
    dataset = client.post(begun["links"]["complete"]).json()
    assert dataset["state"] == "ready", dataset
    request = {
        "model": "Sequential(Linear(4, 8), ReLU(), Linear(8, 2))",
        "data": {
            "dataset": dataset["id"],
            "features": {"x": {"columns": ["length", "width", "colour"], "normalize": "standardize"}},
            "split": {"validation": 0.2, "test": 0.2, "stratify": True},
            "batch_size": 16,
        },
        "training": {**PLAN, "loss": {"type": "CrossEntropyLoss"}, "metrics": ["accuracy"]},
    }
    job = service.wait(service.submit(request))
    assert job["state"] == "succeeded", job["error"]
    assert job["progress"]["latest"]["test/accuracy"] == 1.0
    assert client.delete(dataset["links"]["self"]).status_code == 204


def test_a_network_learns_from_a_zipped_folder_of_images(service: Stack) -> None:
    answer = service.client.post("/v1/datasets?format=images", content=image_folder(60))
    assert answer.status_code == 201, answer.text
    request = {
        "model": "Sequential(Conv2d(3, 4, kernel_size=3), ReLU(), Flatten(), Linear(144, 2))",
        "data": {
            "dataset": answer.json()["id"],
            "features": {"x": {"columns": ["image"], "image": {"flip": 0.5}, "normalize": "standardize"}},
            "batch_size": 16,
        },
        "training": {**PLAN, "epochs": 5, "loss": {"type": "CrossEntropyLoss"}, "metrics": ["accuracy"]},
    }
    job = service.wait(service.submit(request))
    assert job["state"] == "succeeded", job["error"]
    assert job["progress"]["latest"]["test/accuracy"] > 0.9
