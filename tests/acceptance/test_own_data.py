"""A tenant's own data over real HTTP: a file up, a model trained on it, in all its parts by real processes."""

import hashlib

import numpy as np
import pytest

from tests.services.datasets.files import image_folder, npz
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


POINTS = np.linspace(0, 1, 160, dtype=np.float32).reshape(40, 4)
LABELS = np.arange(40) % 3


def changed(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    other = array.copy()
    other[place] = value
    return other


BAD = {
    "a label beyond the outputs": (npz(x=POINTS, y=changed(LABELS, (17,), 3)), "label_out_of_range", "row 17"),
    "a label below zero": (npz(x=POINTS, y=changed(LABELS, (4,), -1)), "label_out_of_range", "row 4"),
    "a feature that is no number": (npz(x=changed(POINTS, (9, 2), np.nan), y=LABELS), "non_finite_data", "row 9, p"),
    "a feature without end": (
        npz(x=changed(POINTS, (31, 0), np.inf), y=LABELS),
        "non_finite_data",
        "row 31, place [0]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_with_their_number_before_a_worker_is_asked(service: Stack, case: str) -> None:
    content, code, said = BAD[case]
    made = service.client.post("/v1/datasets?format=npz&target=y", content=content).json()
    training = {**PLAN, "epochs": 1, "loss": {"type": "CrossEntropyLoss"}}
    request = {"model": "Linear(4, 3)", "data": {"dataset": made["id"]}, "training": training}
    answer = service.client.post("/v1/jobs", json=request)
    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["code"]) == (422, code)
    assert said in problem["detail"]
    assert problem["hint"]
    assert problem["pointer"] in ("/model", "/data/target", "/data/inputs/0")
