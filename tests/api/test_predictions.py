"""Predictions over HTTP: raw rows in, labels and values out, the same numbers as the job reported."""

import pytest

from services.datasets.builtin import materialise
from services.datasets.fetch import fetch
from tests.api.trained import train_job

FISH = ["length,width,colour,kind"]
KINDS = (("red", "trout"), ("blue", "pike"))
FISH += [f"{20 + i % 9 + 10 * (i % 2)},{i % 5}.5,{KINDS[i % 2][0]},{KINDS[i % 2][1]}" for i in range(80)]
TROUT = {"length": 22, "width": 1.5, "colour": "red"}
PIKE = {"length": 35, "width": 2.5, "colour": "blue"}
FISH_DATA = {
    "features": {"x": {"columns": ["length", "width", "colour"], "normalize": "standardize"}},
    "split": {"validation": 0.2, "test": 0.2, "stratify": True},
    "batch_size": 16,
}
CLASSIFY = {
    "epochs": 10,
    "optimizer": {"type": "Adam", "lr": 0.05},
    "loss": {"type": "CrossEntropyLoss"},
    "metrics": ["accuracy"],
    "seed": 1,
}
DIGITS = {
    "model": "Sequential(Linear(64, 32), BatchNorm1d(32), ReLU(), Dropout(0.3), Linear(32, 10))",
    "data": {"dataset": "digits", "batch_size": 32},
    "training": {**CLASSIFY, "epochs": 2, "ema": {"decay": 0.9}},
}


@pytest.fixture(scope="module")
def shared(api_settings, url, tmp_path_factory):
    """A tenant whose jobs are trained once for all tests here."""
    import httpx

    from services.db.engine import Database
    from services.tenants import service as tenants
    from tests.api.conftest import Caller

    database = Database(api_settings.database_url)
    with database.session() as session:
        tenant_id = tenants.create_tenant(session, name="predictions").id
        key, _ = tenants.create_key(session, tenant_id=tenant_id, scopes=("*",))
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        yield Shared(Caller(tenant_id, key, client), database, api_settings, tmp_path_factory)
    database.close()


class Shared:
    def __init__(self, caller, database, settings, folders):
        self.caller, self.client, self.database = caller, caller.client, database
        self.settings, self.folders = settings, folders
        self.made = {}

    def upload(self, content, kind, **query):
        answer = self.client.post("/v1/datasets", params={"format": kind, **query}, content=content)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def train(self, request, name):
        """Train a request once; what is asked for again is the same checkpoint."""
        if name not in self.made:
            answer = self.client.post("/v1/jobs", json=request)
            assert answer.status_code == 201, answer.text
            file, folder = self.file(request["data"]["dataset"]), self.folders.mktemp(name)
            self.made[name] = train_job(self.database, answer.json()["id"], file, folder)
        return self.made[name]

    def file(self, dataset):
        cache = self.settings.cache_dir
        if not dataset.startswith("ds_"):
            return materialise(dataset, cache).path
        ids = {"tenant_id": self.caller.tenant_id, "dataset_id": dataset}
        return fetch(self.database, **ids, cache_dir=cache, cache_bytes=1 << 30).path

    def predict(self, trained, body, **headers):
        return self.client.post(f"/v1/checkpoints/{trained['checkpoint_id']}/predict", json=body, headers=headers)

    def ok(self, trained, body):
        answer = self.predict(trained, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, trained, body, status=422):
        answer = self.predict(trained, body)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def fish(shared):
    dataset = shared.upload("\n".join(FISH).encode() + b"\n", "csv", target="kind")
    request = {
        "model": "Sequential(Linear(4, 8), ReLU(), Linear(8, 2))",
        "data": {"dataset": dataset, **FISH_DATA},
        "training": CLASSIFY,
    }
    return {**shared.train(request, "fish"), "dataset": dataset}


@pytest.fixture(scope="module")
def digits(shared):
    return shared.train(DIGITS, "digits")


def test_raw_rows_are_prepared_as_in_training_and_answered_with_names(shared, fish):
    answer = shared.ok(fish, {"rows": [TROUT, PIKE]})
    assert [row["label"] for row in answer["predictions"]] == ["trout", "pike"]
    first = answer["predictions"][0]
    assert list(first["probabilities"]) == ["trout", "pike"]
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert first["probabilities"]["trout"] > 0.9
    assert (answer["kind"], answer["target"]) == ("classification", "kind")
    assert (answer["metrics"], answer["has_more"]) == (None, False)
    assert answer["class_names"] == ["pike", "trout"]


def test_columns_texts_of_numbers_and_a_target_are_taken_too(shared, fish):
    columns = {"length": ["22", 35], "width": ["1.5", "2.5"], "colour": ["red", "blue"], "note": [1, 2]}
    columns["kind"] = ["trout", "trout"]
    answer = shared.ok(fish, {"columns": columns})
    assert [row["target"] for row in answer["predictions"]] == ["trout", "trout"]
    assert answer["metrics"]["accuracy"] == 0.5
    assert answer["ignored_columns"] == ["note"]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_part_of_the_jobs_data_gives_the_numbers_that_the_job_reported(shared, fish, digits, part):
    for trained in (fish, digits):
        answer = shared.ok(trained, {"data": {"split": part}, "limit": 10_000})
        reported = {name: trained["latest"][f"{part}/{name}"] for name in ("loss", "accuracy")}
        assert answer["metrics"] == reported
        right = [row["label"] == row["target"] for row in answer["predictions"]]
        assert sum(right) / len(right) == pytest.approx(reported["accuracy"])
        assert len(right) == answer["total_rows"]


def test_averaged_weights_are_what_predicts(shared, digits):
    """The plan has an exponential average: the job's own numbers are the average's."""
    assert "ema" in DIGITS["training"]
    answer = shared.ok(digits, {"data": {"split": "test"}, "limit": 1})
    assert answer["metrics"]["loss"] == digits["latest"]["test/loss"]


def test_the_same_request_has_the_same_answer_cold_and_warm(shared, digits, app):
    body = {"data": {"rows": [5, 1, 300]}, "outputs": True, "top_k": 3}
    cold = shared.ok(digits, body)
    assert shared.ok(digits, body) == cold
    app.state.parts.warm.close()
    assert shared.ok(digits, body) == cold
    assert [row["row"] for row in cold["predictions"]] == [5, 1, 300]
    assert len(cold["predictions"][0]["outputs"]["output"]) == 10
    assert len(cold["predictions"][0]["probabilities"]) == 3
