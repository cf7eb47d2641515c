"""``If-Match``: nobody overwrites what he has not seen."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.stored import add_checkpoint
from tests.factories import add_job


@pytest.fixture
def checkpoint(caller, database):
    return f"/v1/checkpoints/{add_checkpoint(database, caller.tenant_id, os.urandom(100))}"


def test_a_change_goes_through_with_the_tag_that_get_gave_and_not_with_an_older_one(client, checkpoint, problem):
    tag = client.get(checkpoint).headers["etag"]
    changed = client.patch(checkpoint, json={"pinned": True}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json()["pinned"]) == (200, True)
    assert changed.headers["etag"] == client.get(checkpoint).headers["etag"] != tag
    found = problem(client.patch(checkpoint, json={"pinned": False}, headers={"If-Match": tag}), 412)
    assert found["code"] == "precondition_failed"
    assert client.get(checkpoint).json()["pinned"] is True


@pytest.mark.parametrize("header", ['"other"', "W/{tag}", "nonsense", '"a", "b"', ""])
def test_what_does_not_match_strongly_changes_and_deletes_nothing(client, checkpoint, problem, header):
    headers = {"If-Match": header.format(tag=client.get(checkpoint).headers["etag"])}
    for answer in (
        client.patch(checkpoint, json={"pinned": True}, headers=headers),
        client.delete(checkpoint, headers=headers),
    ):
        assert problem(answer, 412)["code"] == "precondition_failed"
    assert client.get(checkpoint).json()["pinned"] is False


@pytest.mark.parametrize("header", ["*", "{tag}", '"other", {tag}'])
def test_what_matches_goes_through(client, checkpoint, header):
    headers = {"If-Match": header.format(tag=client.get(checkpoint).headers["etag"])}
    assert client.patch(checkpoint, json={"pinned": False}, headers=headers).status_code == 200


def test_of_many_who_change_the_same_version_one_wins(caller, checkpoint):
    tag = caller.client.get(checkpoint).headers["etag"]

    def change(_: int) -> int:
        return caller.client.patch(checkpoint, json={"pinned": True}, headers={"If-Match": tag}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(change, range(8))) == [200] + [412] * 7


def test_a_data_set_is_deleted_only_as_it_is_known(client, problem):
    begun = client.post("/v1/datasets", json={"format": "csv"}).headers["location"]
    tag = client.get(begun).headers["etag"]
    client.put(f"{begun}/parts/1", content=b"a,b\n1,2\n")
    client.post(f"{begun}/complete")
    assert problem(client.delete(begun, headers={"If-Match": tag}), 412)["code"] == "precondition_failed"
    assert client.delete(begun, headers={"If-Match": client.get(begun).headers["etag"]}).status_code == 204
    assert client.get(begun).status_code == 404


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_is_changed_only_as_it_is_known_wherever_it_stands_in_the_queue(caller, database, problem, state):
    path = f"/v1/jobs/{add_job(database, caller.tenant_id, state=state)}"
    tag = caller.client.get(path).headers["etag"]
    add_job(database, caller.tenant_id, priority=1)  # before it in the line
    first = caller.client.patch(path, json={"labels": {"a": "1"}}, headers={"If-Match": tag})
    assert (first.status_code, first.json()["labels"]) == (200, {"a": "1"})
    late = caller.client.patch(path, json={"labels": {"a": "2"}}, headers={"If-Match": tag})
    assert problem(late, 412)["code"] == "precondition_failed"
    assert caller.client.get(path).json()["labels"] == {"a": "1"}
    known = caller.client.patch(path, json={"labels": {"a": "3"}}, headers={"If-Match": first.headers["etag"]})
    assert (known.status_code, known.json()["labels"]) == (200, {"a": "3"})


def test_every_patch_and_delete_of_a_thing_with_a_tag_declares_412(app):
    for path, operations in app.openapi()["paths"].items():
        tagged = "304" in operations.get("get", {}).get("responses", {})
        for method in {"patch", "delete"} & operations.keys():
            assert not tagged or "412" in operations[method]["responses"], (method, path)


@pytest.mark.parametrize(("coding", "encoding"), [("gzip", "gzip"), ("gzip", "identity"), ("zstd", "gzip")])
def test_a_tag_of_a_compressed_answer_matches_too(client, coding, encoding):
    columns = {f"c{n}": [0, 1] for n in range(30)}
    made = client.post("/v1/datasets", json={"columns": columns}).headers["location"]
    known = client.get(made, headers={"Accept-Encoding": coding})
    assert known.headers["content-encoding"] == coding
    assert known.headers["etag"].endswith(f'-{coding}"')
    headers = {"If-Match": known.headers["etag"], "Accept-Encoding": encoding}
    assert client.delete(made, headers=headers).status_code == 204
