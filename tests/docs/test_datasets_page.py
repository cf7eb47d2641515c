"""Every example of the page on data sets is run: files are uploaded to a real API, jobs are checked by it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from modelwright import Client
from services.config import load_settings
from services.db.engine import Database
from services.tenants import service as tenants
from tests.api.server import serving

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
