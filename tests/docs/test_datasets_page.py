"""Every example of the page on data sets is run: files are uploaded to a real API, jobs are checked by it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from modelwright import Client
from modelwright.errors import InvalidRequest
from services.config import load_settings
from services.datasets.reader import Reader
from services.datasets.remote_fetch import fetch_next
from services.db.engine import Database
from services.tenants import service as tenants
from tests.api.server import serving
from tests.object_store import ObjectServer

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
_BLOCK = re.compile(r"^```(json|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def client(environment: dict[str, str], database: Database) -> Iterator[Client]:
    """A client of an API of this test's own."""
    with database.session() as session:
        tenant = tenants.create_tenant(session, name="reader").id
        key, _ = tenants.create_key(session, tenant_id=tenant, scopes=("*",))
    with serving(create_app(load_settings(environment))) as url, Client(url, key) as made:
        yield made


def test_the_examples_of_the_page_do_what_it_says(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"client": client}
    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks].count("json") >= 6
    for kind, text in blocks:
        if kind == "python":
            exec(text, namespace)
            continue
        request = json.loads(re.sub(r'"\$(\w+)"', lambda found: json.dumps(namespace[found[1]]["id"]), text))
        report = client.validate(request)
        assert report["valid"]
        assert report["resolved"]["data"]["rows"]["train"] > 0


def test_every_format_has_an_example() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for suffix in (".csv", ".npz", ".safetensors", ".parquet", ".zip", ".txt"):
        assert f'{suffix}"' in text


def test_the_call_for_an_object_makes_a_data_set(
    environment: dict[str, str], database: Database, object_server: ObjectServer
) -> None:
    bucket, key = "training-data", "2026/fish.csv"
    object_server.client.create_bucket(Bucket=bucket)
    object_server.put(bucket, key, b"length,kind\n1,2\n3,4\n")
    reached = {"MODELWRIGHT_S3_BUCKETS": bucket, "MODELWRIGHT_S3_ENDPOINT": object_server.url}
    key_pair = {"MODELWRIGHT_S3_ACCESS_KEY_ID": "reader", "MODELWRIGHT_S3_SECRET_ACCESS_KEY": "a secret"}
    settings = load_settings({**environment, **reached, **key_pair})
    [command] = re.findall(r"^```sh s3\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    with database.session() as session:
        tenant = tenants.create_tenant(session, name="objects").id
        secret, _ = tenants.create_key(session, tenant_id=tenant, scopes=("*",))
    reader = Reader(settings)
    with serving(create_app(settings)) as url, Client(url, secret) as client, closing(reader):
        shell = {**os.environ, "MODELWRIGHT_URL": url, "MODELWRIGHT_API_KEY": secret}
        said = json.loads(subprocess.run(["bash", "-c", command], env=shell, check=True, capture_output=True).stdout)
        assert said["state"] == "fetching"
        assert fetch_next(database, settings, reader)
        again = client.fetch_dataset(f"s3://{bucket}/{key}", format="csv", target="kind")
        assert (again["id"], again["state"], again["rows"]) == (said["id"], "ready", 2)
        with pytest.raises(InvalidRequest) as caught:
            client.fetch_dataset(f"s3://{bucket}/nothing.csv", format="csv")
    assert caught.value.problems[0].code == "source_not_found"
