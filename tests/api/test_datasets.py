"""Uploads over HTTP: in one go, in parts, cut and resumed; lists, previews, deletion, and who may see what."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelwright import Client, errors
from services.identifiers import new_id
from tests.factories import add_job

CSV = b"height,weight,city,label\n1.7,60,Rome,a\n1.8,,Oslo,b\n1.6,55,Rome,a\n1.9,90,Oslo,b\n"


def upload(client, content, kind="csv", **query):
    params = {"format": kind, **query}
    return client.post("/v1/datasets", params=params, content=content, headers={"Content-Type": "text/csv"})


def digest(content):
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def test_a_small_file_is_ready_at_once(client):
    answer = upload(client, CSV, name="people", target="label")
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{made['id']}"
    assert (made["state"], made["rows"], made["name"]) == ("ready", 4, "people")
    assert made["source_sha256"] == hashlib.sha256(CSV).hexdigest()
    assert made["columns"]["label"]["class_names"] == ["a", "b"]
    assert made["columns"]["weight"]["dtype"] == "float64"
    assert (made["default_inputs"], made["default_target"]) == (["height", "weight", "city"], "label")
    assert client.get(made["links"]["self"]).json() == made


def test_the_same_bytes_are_the_same_data_set(client):
    first, second = upload(client, CSV), upload(client, CSV)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert upload(client, CSV, target="city").json()["id"] != first.json()["id"]
    known = {"format": "csv", "sha256": hashlib.sha256(CSV).hexdigest()}
    assert client.post("/v1/datasets", json=known).json()["id"] == first.json()["id"]


def test_preview_and_statistics(client):
    made = upload(client, CSV).json()
    found = client.get(f"{made['links']['preview']}?rows=2").json()
    assert (found["rows"], found["total_rows"]) == (2, 4)
    assert found["columns"]["weight"] == [60.0, None]
    assert found["columns"]["city"] == ["Rome", "Oslo"]
    weight = found["statistics"]["weight"]
    assert (weight["missing"], weight["min"], weight["max"], weight["unique"]) == (1, 55.0, 90.0, 4)
    assert found["statistics"]["label"]["classes"] == {"a": 2, "b": 2}


def test_a_builtin_data_set_has_a_preview_too(client):
    found = client.get("/v1/datasets/iris/preview?rows=1").json()
    assert found["columns"]["label"] == ["setosa"]
    assert found["statistics"]["label"]["classes"] == {"setosa": 50, "versicolor": 50, "virginica": 50}


def test_an_upload_goes_in_parts_in_any_order_and_any_number_of_times(client, problem):
    begun = client.post("/v1/datasets", json={"name": "people", "format": "csv", "size_bytes": len(CSV)}).json()
    assert begun["state"] == "uploading"
    parts, complete = begun["links"]["parts"], begun["links"]["complete"]
    put = client.put(f"{parts}/2", content=CSV[30:], headers={"Content-Digest": digest(CSV[30:])})
    assert (put.status_code, put.json()["sha256"]) == (201, hashlib.sha256(CSV[30:]).hexdigest())
    missing = problem(client.post(complete), 422)
    assert (missing["code"], missing["detail"]) == ("missing_part", "Part 1 has not arrived.")
    client.put(f"{parts}/1", content=b"something else")
    assert problem(client.post(complete), 422)["code"] == "size_mismatch"
    again = client.put(f"{parts}/1", content=CSV[:30])
    assert again.status_code == 200
    assert [part["number"] for part in client.get(parts).json()["data"]] == [1, 2]
    done = client.post(complete)
    assert (done.status_code, done.json()["state"], done.json()["rows"]) == (200, "ready", 4)
    assert client.post(complete).json() == done.json()
    assert problem(client.put(f"{parts}/1", content=b"x"), 409)["code"] == "conflict"
    assert client.get(parts).json()["data"] == []


def test_a_wrong_digest_is_refused_and_the_part_does_not_count(client, problem):
    begun = client.post("/v1/datasets", json={"format": "csv"}).json()
    part = f"{begun['links']['parts']}/1"
    wrong = problem(client.put(part, content=CSV, headers={"Content-Digest": digest(b"other")}), 422)
    assert wrong["code"] == "checksum_mismatch"
    assert (
        problem(client.put(part, content=CSV, headers={"Repr-Digest": "md5=:AAAA:"}), 400)["code"] == "invalid_digest"
    )
    assert client.get(begun["links"]["parts"]).json()["data"] == []
    client.put(part, content=CSV)
    whole = problem(client.post(f"{begun['links']['complete']}?sha256={'0' * 64}"), 422)
    assert whole["code"] == "checksum_mismatch"
    assert client.get(begun["links"]["self"]).json()["state"] == "uploading"
    right = client.post(f"{begun['links']['complete']}?sha256={hashlib.sha256(CSV).hexdigest()}")
    assert right.json()["state"] == "ready"


def test_a_file_that_cannot_be_read_fails_with_its_problems(client, problem):
    begun = client.post("/v1/datasets", json={"format": "csv"}).json()
    client.put(f"{begun['links']['parts']}/1", content=b"a,b\n1,2\n3\n")
    refused = problem(client.post(begun["links"]["complete"]), 422)
    assert refused["code"] == "ragged_row"
    assert refused["errors"][0]["detail"] == "Line 3 has 1 cells, but there are 2 columns."
    failed = client.get(begun["links"]["self"]).json()
    assert (failed["state"], failed["problems"][0]["code"]) == ("failed", "ragged_row")
    assert problem(client.post(begun["links"]["complete"]), 422)["code"] == "ragged_row"
    assert problem(client.get(begun["links"]["preview"]), 409)["code"] == "conflict"


def test_of_a_small_file_that_cannot_be_read_nothing_is_kept(client, problem):
    assert problem(upload(client, b"a,b\n1,2\n3\n"), 422)["code"] == "ragged_row"
    assert client.get("/v1/datasets?owner=own").json()["data"] == []


@pytest.mark.parametrize("kind", ["pickle", "pt", "exe"])
def test_formats_that_nobody_reads_are_415(client, problem, kind):
    assert problem(client.post("/v1/datasets", json={"format": kind}), 415)["code"] == "unsupported_format"
    assert problem(upload(client, b"x", kind), 415)["code"] == "unsupported_format"


def test_a_pickle_in_disguise_is_415(client, problem):
    assert problem(upload(client, b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.", "npy"), 415)


def test_tiny_data_comes_inside_the_request(client, problem):
    columns = {"x": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [0, 1, 1, 0]}
    made = client.post("/v1/datasets", json={"columns": columns, "target": "y"}).json()
    assert made["columns"]["x"]["shape"] == [2]
    assert made["columns"]["y"]["classes"] == 2
    rows = client.post("/v1/datasets", json={"rows": [{"a": 1, "b": "u"}, {"a": 2.5, "b": None}]}).json()
    assert rows["columns"]["b"]["class_names"] == ["u"]
    ragged = problem(client.post("/v1/datasets", json={"columns": {"x": [[1], [1, 2]]}}), 422)
    assert (ragged["code"], ragged["errors"][0]["pointer"]) == ("ragged_row", "/columns/x/1")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "missing", "/format"),
        ({"format": "csv", "columns": {"x": [1]}}, "conflict", "/columns"),
        ({"format": "text", "csv": {}}, "conflict", "/csv"),
        ({"format": "csv", "csv": {"delimiter": "::"}}, "unknown_value", "/csv/delimiter"),
        ({"format": "csv", "colour": 1}, "extra_forbidden", "/colour"),
        ({"format": "csv", "size_bytes": 0}, "out_of_range", "/size_bytes"),
        ({"columns": {}}, "out_of_range", "/columns"),
    ],
)
def test_a_wrong_request_is_told_where(client, problem, body, code, pointer):
    found = problem(client.post("/v1/datasets", json=body), 422)
    assert (found["errors"][0]["code"], found["errors"][0]["pointer"]) == (code, pointer)


def test_bodies_are_bounded(client, problem):
    begun = client.post("/v1/datasets", json={"format": "csv"}).json()
    part = f"{begun['links']['parts']}/1"
    assert problem(client.put(part, content=b""), 422)["code"] == "body_required"
    assert problem(client.put(part, content=b"x", headers={"Content-Encoding": "gzip"}), 415)
    assert problem(client.put(f"{begun['links']['parts']}/0", content=b"x"), 422)["code"] == "out_of_range"
    declared = problem(client.put(part, content=(b"x" * (1 << 20) for _ in range(65))), 413)
    assert declared["code"] == "body_too_large"
    too_large = problem(client.post("/v1/datasets", json={"format": "csv", "size_bytes": 1 << 40}), 413)
    assert too_large["code"] == "body_too_large"


def test_the_list_has_own_ones_first_and_goes_page_by_page(client, problem):
    own = [upload(client, CSV + b"1,2,x,%d\n" % number).json()["id"] for number in range(3)]
    seen, after = [], ""
    while True:
        page = client.get(f"/v1/datasets?limit=2{after}").json()
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert sorted(seen[:3]) == sorted(own)
    assert seen[3:] == [one["id"] for one in client.get("/v1/datasets?owner=builtin").json()["data"]]
    assert len(seen) == len(set(seen))
    assert "digits" in seen
    assert problem(client.get("/v1/datasets?after=zzz"), 422)["code"] == "invalid_cursor"


def test_deletion_waits_for_the_jobs_that_use_it(caller, database, problem):
    client = caller.client
    made = upload(client, CSV).json()
    add_job(database, caller.tenant_id, resolved={"data": {"dataset": made["id"]}})
    busy = problem(client.delete(made["links"]["self"]), 409)
    assert busy["code"] == "dataset_in_use"
    free = upload(client, CSV + b"1,2,x,y\n").json()
    assert client.delete(free["links"]["self"]).status_code == 204
    assert problem(client.get(free["links"]["self"]), 404)["code"] == "not_found"
    assert problem(client.delete("/v1/datasets/digits"), 409)["code"] == "conflict"


def test_another_tenants_data_set_does_not_exist(make_caller, problem):
    owner, other = make_caller(), make_caller()
    made = upload(owner.client, CSV).json()
    begun = owner.client.post("/v1/datasets", json={"format": "csv"}).json()
    calls = [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/preview"),
        ("GET", "/parts"),
        ("PUT", "/parts/1"),
        ("POST", "/complete"),
    ]
    for identifier in (made["id"], begun["id"]):
        for method, path in calls:
            body = {"content": b"x"} if method == "PUT" else {}
            theirs = problem(other.client.request(method, f"/v1/datasets/{identifier}{path}", **body), 404)
            nobodys = problem(other.client.request(method, f"/v1/datasets/{new_id('ds')}{path}", **body), 404)
            assert {**theirs, "request_id": ""} == {**nobodys, "request_id": ""}, (method, path)
    assert upload(other.client, CSV).json()["id"] != made["id"]
    assert [one["owner"] for one in other.client.get("/v1/datasets?owner=own").json()["data"]] == ["own"]


def test_a_reader_may_not_upload(make_caller, problem):
    reader = make_caller(scopes=("datasets:read",))
    assert problem(upload(reader.client, CSV), 403)["code"] == "insufficient_scope"
    assert problem(reader.client.get("/v1/datasets/zzz"), 422)["code"] == "invalid_id"


def test_the_client_goes_on_with_an_upload_that_was_cut(caller, url, tmp_path, monkeypatch):
    monkeypatch.setattr("modelwright.upload.PART_BYTES", 1000)
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (row, row * row) for row in range(1000))
    path = tmp_path / "squares.csv"
    path.write_bytes(content)
    sent = []

    class Cut(Exception):
        pass

    def cut(have, total):
        if have >= 5000:
            raise Cut

    client = Client(url, caller.key)
    with pytest.raises(Cut):
        client.upload_dataset(path, progress=cut)
    (begun,) = client.datasets(owner="own")
    assert begun["state"] == "uploading"
    put = client._transport.put
    monkeypatch.setattr(client._transport, "put", lambda where, *rest: sent.append(where) or put(where, *rest))
    seen = []
    made = client.upload_dataset(path, target="b", progress=lambda have, total: seen.append((have, total)))
    assert (made["state"], made["rows"], made["id"] == begun["id"]) == ("ready", 1000, False)  # another target
    made = client.upload_dataset(path, progress=lambda have, total: seen.append((have, total)))
    assert (made["id"], made["state"]) == (begun["id"], "ready")
    resumed = [where.rsplit("/", 1)[1] for where in sent if begun["id"] in where]
    assert resumed == [str(number) for number in range(6, -(-len(content) // 1000) + 1)]
    assert seen[-1] == (len(content), len(content))
    assert client.upload_dataset(path)["id"] == begun["id"]
    assert client.preview_dataset(made["id"], rows=1)["columns"] == {"a": [0], "b": [0]}
    client.delete_dataset(made["id"])
    with pytest.raises(errors.NotFound):
        client.get_dataset(made["id"])


def test_the_client_makes_tiny_data_and_submits_a_job_over_it(caller, url):
    client = Client(url, caller.key)
    dataset = client.create_dataset({"x": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [0, 1, 1, 0]}, target="y")
    report = client.validate(
        model="Linear(2, 2)",
        data={"dataset": dataset, "features": {"f": {"columns": ["x"]}}, "split": {"train": 1.0}},
        training={"epochs": 1, "optimizer": {"type": "SGD", "lr": 0.1}, "loss": {"type": "CrossEntropyLoss"}},
    )
    assert report["resolved"]["data"]["inputs"] == ["f"]


@pytest.mark.parametrize(
    ("data", "code", "pointer"),
    [
        ({"dataset": new_id("ds")}, "unknown_dataset", "/data/dataset"),
        ({"dataset": "ds_nonsense"}, "unknown_dataset", "/data/dataset"),
        ({"split": {"by_group": "city", "stratify": "label"}}, "conflict", "/data/split/by_group"),
        ({"split": {"column": "city", "test": 0.1}}, "conflict", "/data/split/test"),
        ({"split": {"by_time": "weight"}}, "missing_value", "/data/split"),
        ({"features": {"x": {"columns": ["city", "wheight"]}}}, "unknown_column", "/data/features/x/columns/1"),
        ({"features": {"x": {"columns": ["city"], "normalise": "x"}}}, "extra_forbidden", "/data/features/x/normalise"),
        ({"window": {"length": 0}}, "out_of_range", "/data/window/length"),
        ({"window": {"length": 64}}, "empty_dataset", "/data/window/length"),
    ],
)
def test_a_job_that_asks_for_what_is_not_there_is_told_where(client, problem, data, code, pointer):
    made = upload(client, CSV).json()
    request = {
        "model": "Linear(1, 2)",
        "data": {"dataset": made["id"], **data},
        "training": {"epochs": 1, "optimizer": {"type": "SGD", "lr": 0.1}, "loss": {"type": "CrossEntropyLoss"}},
    }
    found = problem(client.post("/v1/jobs?validate_only=true", json=request), 422)
    assert (found["errors"][0]["code"], found["errors"][0]["pointer"]) == (code, pointer), found


def test_an_upload_that_begins_with_a_key_begins_once(client, problem):
    headers = {"Idempotency-Key": "begin-once"}
    first = client.post("/v1/datasets", json={"format": "csv", "name": "a"}, headers=headers)
    again = client.post("/v1/datasets", json={"format": "csv", "name": "a"}, headers=headers)
    assert (first.json()["id"], again.headers["idempotent-replayed"]) == (again.json()["id"], "true")
    other = client.post("/v1/datasets", json={"format": "csv", "name": "b"}, headers=headers)
    assert problem(other, 422)["code"] == "idempotency_mismatch"
    assert len(client.get("/v1/datasets?owner=own").json()["data"]) == 1


def test_completions_at_once_make_one_data_set(caller, problem):
    client = caller.client
    begun = client.post("/v1/datasets", json={"format": "csv"}).json()
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (row, row) for row in range(40_000))
    client.put(f"{begun['links']['parts']}/1", content=content)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(begun["links"]["complete"]), range(4)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    done = [answer.json() for answer in answers if answer.status_code == 200]
    assert done
    assert all(one == done[0] for one in done)
    assert client.get(begun["links"]["self"]).json()["rows"] == 40_000


def test_names_of_classes_are_not_repeated_in_lists_and_may_not_be_endless(client, problem):
    upload(client, CSV)
    (listed,) = client.get("/v1/datasets?owner=own").json()["data"]
    assert listed["columns"]["label"]["classes"] == 2
    assert "class_names" not in listed["columns"]["label"]
    wide = b"a,b,c\n" + b"".join(
        b",".join(b"%s-%05d" % (c * 190, row) for c in (b"a", b"b", b"c")) + b"\n" for row in range(9000)
    )
    assert problem(upload(client, wide), 422)["code"] == "too_many_classes"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("PUT", "/parts/-1", (422, "out_of_range")),
        ("PUT", "/parts/99999999999999999999999", (422, "out_of_range")),
        ("PUT", "/parts/abc", (422, "int_type")),
        ("PUT", "/parts/1.5", (422, "int_type")),
        ("PUT", "/parts/1?x=1", (422, "extra_forbidden")),
        ("POST", "/complete?sha256=zz", (422, "string_pattern_mismatch")),
        ("POST", "/complete", (422, "missing_part")),
        ("GET", "/preview?rows=0", (422, "out_of_range")),
        ("GET", "/preview?rows=101", (422, "out_of_range")),
        ("GET", "/preview?rows=x", (422, "int_type")),
        ("GET", "/preview", (409, "conflict")),
        ("PATCH", "", (405, "method_not_allowed")),
        ("GET", "/parts/1", (405, "method_not_allowed")),
    ],
)
def test_nonsense_in_a_path_or_a_query_is_refused_by_name(client, problem, method, path, expected):
    begun = client.post("/v1/datasets", json={"format": "csv"}).json()
    body = {"content": b"x"} if method == "PUT" else {}
    answer = client.request(method, begun["links"]["self"] + path, **body)
    assert (answer.status_code, problem(answer, answer.status_code)["code"]) == expected


@pytest.mark.parametrize("identifier", ["..%2f..%2fetc%2fpasswd", "%252e", "a;b", "ds_x", "ds_" + "0" * 25, "Digits"])
def test_what_is_no_id_is_told_so(client, problem, identifier):
    answer = client.get(f"/v1/datasets/{identifier}")
    assert answer.status_code in (404, 422)
    assert problem(answer, answer.status_code)["code"] in ("not_found", "invalid_id")
