"""Every example of the page on data sets is run: files are uploaded to a real API, jobs are checked by it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from modelwright import Client
from tests.api.conftest import api_settings, app, database_url, make_caller, url  # noqa: F401 - fixtures

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
_BLOCK = re.compile(r"^```(json|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page_do_what_it_says(
    make_caller: Any,  # noqa: F811
    url: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    client = Client(url, make_caller().key)
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
