"""Predictions over HTTP: raw rows in, labels and values out, the same numbers as the job reported."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import text

from services.datasets.builtin import materialise
from services.datasets.fetch import fetch
from services.db.engine import Database
from services.tenants import service as tenants
from tests.api.conftest import Caller
from tests.api.trained import train_job
from tests.stack import until

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


def test_without_metrics_only_the_page_is_predicted_and_pages_follow_one_another(shared, digits):
    whole = shared.ok(digits, {"data": {"split": "test"}})
    pages, first = [], 0
    while True:
        page = shared.ok(digits, {"data": {"split": "test"}, "first": first, "limit": 70, "metrics": False})
        assert page["metrics"] is None
        pages += page["predictions"]
        first += 70
        if not page["has_more"]:
            break
    assert pages == whole["predictions"]
    assert len(pages) == 180


def test_all_rows_are_streamed_as_lines_of_json_or_csv(shared, digits):
    body = {"data": {}}
    lines = shared.predict(digits, body, accept="application/x-ndjson")
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert len(rows) == 1797 + 1
    assert rows[-1]["metrics"]["accuracy"] == pytest.approx(
        sum(row["label"] == row["target"] for row in rows[:-1]) / 1797
    )
    table = shared.predict(digits, body, accept="text/csv").text.splitlines()
    assert table[0] == "row,label,probability,target"
    assert len(table) == 1798
    assert table[1].split(",")[:2] == ["0", rows[0]["label"]]
    refused = shared.predict(digits, {"data": {"rows": [1797]}}, accept="text/csv")
    assert (refused.status_code, refused.json()["code"]) == (422, "out_of_range")


def test_values_are_columns_of_csv(shared):
    request = {
        "model": "Linear(3, 3)",
        "data": {"dataset": "linnerud", "batch_size": 4},
        "training": {**CLASSIFY, "epochs": 1, "loss": {"type": "MSELoss"}, "metrics": []},
    }
    trained = shared.train(request, "linnerud")
    table = shared.predict(trained, {"data": {"split": "test"}}, accept="text/csv").text.splitlines()
    assert table[0] == "row,value,target"
    assert shared.ok(trained, {"data": {"split": "test"}})["kind"] == "regression"


def test_another_data_set_is_predicted_with_the_classes_of_training(shared, fish):
    other = shared.upload(b"kind,colour,width,length,more\npike,blue,2.5,35,1\nroach,blue,1.5,34,2\n", "csv")
    refused = shared.refused(fish, {"data": {"dataset": other}})
    assert refused["code"] == "unknown_category"
    assert "'roach'" in refused["errors"][0]["detail"]
    same = shared.upload(b"colour,width,length\nblue,2.5,35\nred,1.5,22\nred,1.5,21\n", "csv")
    answer = shared.ok(fish, {"data": {"dataset": same}})
    assert [row["label"] for row in answer["predictions"]] == ["pike", "trout", "trout"]
    assert answer["metrics"] is None
    problems = shared.refused(fish, {"data": {"dataset": "digits"}})["errors"]
    assert {one["code"] for one in problems} == {"unknown_column"}
    numbers = shared.upload(b"colour,width,length\n1,2.5,35\n2,1.5,22\n", "csv")
    assert shared.refused(fish, {"data": {"dataset": numbers}})["code"] == "dtype_mismatch"
    assert shared.refused(fish, {"data": {"dataset": same, "split": "test"}})["code"] == "unknown_column"  # stratify


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "missing", "/rows"),
        ({"rows": []}, "out_of_range", "/rows"),
        ({"rows": [TROUT], "data": {}}, "conflict", "/data"),
        ({"rows": "all"}, "list_type", "/rows"),
        ({"rows": [TROUT, 3]}, "dict_type", "/rows/1"),
        ({"rows": [TROUT], "top": 3}, "extra_forbidden", "/top"),
        ({"rows": [TROUT], "limit": 0}, "out_of_range", "/limit"),
        ({"rows": [{}] * 10_001}, "too_many_rows", "/rows"),
        ({"columns": {"length": 3}}, "list_type", "/columns/length"),
        ({"columns": {"length": []}}, "out_of_range", "/columns"),
        ({"data": {"split": "tests"}}, "unknown_value", "/data/split"),
        ({"data": {"dataset": "digit"}}, "unknown_dataset", "/data/dataset"),
        ({"data": {"dataset": "ds_01kaq9y3t6f8m2r4v7x0z5b1cd"}}, "unknown_dataset", "/data/dataset"),
        ({"data": {"rows": [80]}}, "out_of_range", "/data/rows/0"),
        ({"data": {"rows": [-1]}}, "out_of_range", "/data/rows/0"),
        ({"rows": [{**TROUT, "colour": "rde"}]}, "unknown_category", "/rows/0/colour"),
        ({"rows": [{"length": 1, "width": 1}]}, "missing_column", "/rows/0"),
        ({"rows": [{**TROUT, "kind": "roach"}]}, "unknown_category", "/rows/0/kind"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_at_its_place(shared, fish, body, code, pointer):
    problems = shared.refused(fish, body)["errors"]
    assert (problems[0]["code"], problems[0]["pointer"]) == (code, pointer)


def test_garbage_is_never_a_failure_of_ours(shared, fish):
    junk = [None, True, -1, 1e308, 10**30, "", "NaN", "\u2603" * 300, [], [[]], [1, [2]], {}, {"a": 1}]
    for value in junk:
        for column in TROUT:
            answer = shared.predict(fish, {"rows": [{**TROUT, column: value}]})
            assert answer.status_code in (200, 422), (column, value, answer.text)
        for body in (
            {"columns": {"length": value}},
            {"data": value},
            {"rows": [value]},
            {"rows": [TROUT], "top_k": value},
        ):
            assert shared.predict(fish, body).status_code in (200, 422), body


def test_fifty_at_once_are_all_answered_alike(shared, fish):
    body = {"rows": [TROUT, PIKE]}
    wanted = shared.ok(fish, body)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: shared.ok(fish, body), range(50)))
    assert answers == [wanted] * 50


def test_a_warm_child_that_was_killed_is_replaced(shared, fish, app):
    warm = app.state.parts.warm
    before = shared.ok(fish, {"rows": [TROUT]})
    assert warm._idle
    for one in warm._idle:
        one.child.kill()
        one.child.wait(10)
    assert shared.ok(fish, {"rows": [TROUT]}) == before


def test_a_child_that_is_killed_at_work_is_an_exact_answer_and_the_next_request_works(shared, digits, app):
    warm = app.state.parts.warm
    warm.close()
    real = warm._server.spawn

    def spawn(*arguments, **options):
        child = real(*arguments, **options)
        threading.Timer(0.0, child.kill).start()
        return child

    warm._server.spawn = spawn
    try:
        refused = shared.refused(digits, {"data": {"split": "test"}})
    finally:
        del warm._server.spawn
    assert refused["code"] == "model_too_large"
    assert shared.ok(digits, {"data": {"split": "test"}, "limit": 1})["metrics"]


def test_a_stranger_sees_nothing_and_a_key_may_read_without_writing(make_caller, shared, fish):
    path = f"/v1/checkpoints/{fish['checkpoint_id']}/predict"
    assert make_caller().client.post(path, json={"rows": [TROUT]}).status_code == 404
    reader = make_caller(scopes=("checkpoints:read",), tenant_id=shared.caller.tenant_id)
    assert reader.client.post(path, json={"rows": [TROUT]}).status_code == 200
    assert shared.client.post("/v1/checkpoints/ckpt_1/predict", json={"rows": [TROUT]}).json()["code"] == "invalid_id"


def test_damaged_bytes_are_an_exact_answer_and_a_deleted_checkpoint_is_gone_though_warm(shared, app):
    trained = shared.train({**DIGITS, "training": {**CLASSIFY, "epochs": 1, "seed": 5}}, "damaged")
    assert shared.ok(trained, {"data": {"rows": [0]}})["predictions"]
    app.state.parts.warm.close()
    with shared.database.session() as session:
        session.execute(
            text(
                "UPDATE chunk SET data = overlay(data placing '\\x00ff' from 200) FROM checkpoint_chunk c "
                "WHERE c.checkpoint_id = :id AND c.file = 'weights.safetensors' AND chunk.sha256 = c.chunk_sha256 "
                "AND chunk.tenant_id = c.tenant_id AND chunk.size_bytes > 1000"
            ),
            {"id": trained["checkpoint_id"]},
        )
    refused = shared.refused(trained, {"data": {"rows": [0]}}, status=409)
    assert refused["code"] == "checkpoint_corrupt"
    other = shared.train({**DIGITS, "training": {**CLASSIFY, "epochs": 1, "seed": 6}}, "deleted")
    assert shared.ok(other, {"data": {"rows": [0]}})["predictions"]
    assert shared.client.delete(f"/v1/checkpoints/{other['checkpoint_id']}").status_code == 204
    assert shared.refused(other, {"data": {"rows": [0]}}, status=404)["code"] == "not_found"


def test_a_job_whose_data_set_was_deleted_still_predicts_rows(shared):
    dataset = shared.upload("\n".join(FISH[:60]).encode() + b"\n", "csv", target="kind")
    request = {
        "model": "Linear(4, 2)",
        "data": {"dataset": dataset, **FISH_DATA},
        "training": {**CLASSIFY, "epochs": 1},
    }
    trained = shared.train(request, "orphan")
    assert shared.client.delete(f"/v1/datasets/{dataset}").status_code == 204
    assert shared.ok(trained, {"rows": [TROUT]})["predictions"][0]["label"] in ("trout", "pike")
    assert shared.refused(trained, {"data": {"split": "test"}})["errors"][0]["code"] == "unknown_dataset"


def test_whoever_leaves_in_the_middle_of_a_stream_frees_its_child(shared, digits, app):
    path = f"/v1/checkpoints/{digits['checkpoint_id']}/predict"
    body = {"data": {}, "outputs": True, "top_k": 10}
    for _ in range(3):
        with shared.client.stream("POST", path, json=body, headers={"accept": "application/x-ndjson"}) as answer:
            assert next(answer.iter_lines()).startswith('{"row":0,')
    until(lambda: app.state.parts.warm._busy == 0, seconds=20)
    assert shared.ok(digits, {"data": {"rows": [0]}})["predictions"]


def test_ten_thousand_rows_are_answered_and_in_their_order(shared, fish):
    rows = [TROUT if n % 3 else PIKE for n in range(10_000)]
    answer = shared.ok(fish, {"rows": rows, "top_k": 1})
    assert [row["label"] for row in answer["predictions"]] == ["trout" if n % 3 else "pike" for n in range(10_000)]
    assert [row["row"] for row in answer["predictions"]] == list(range(10_000))


def test_more_outputs_than_an_answer_holds_are_refused_and_streamed(shared):
    loss = {"terms": {"size": "output.square().mean()"}}
    request = {
        "model": "Linear(64, 1200)",
        "data": {"dataset": "digits", "batch_size": 64},
        "training": {**CLASSIFY, "epochs": 1, "loss": loss, "metrics": []},
    }
    trained = shared.train(request, "wide")
    answer = shared.ok(trained, {"data": {"rows": [1]}})
    assert (answer["kind"], len(answer["predictions"][0]["outputs"]["output"])) == ("outputs", 1200)
    refused = shared.refused(trained, {"data": {}, "limit": 10_000})
    assert (refused["code"], refused["errors"][0]["pointer"]) == ("answer_too_large", "/limit")
    streamed = shared.predict(trained, {"data": {}, "metrics": False}, accept="application/x-ndjson")
    assert len(streamed.text.splitlines()) == 1798
