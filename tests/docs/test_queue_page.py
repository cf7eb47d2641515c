"""The example of the page on the queue is run, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from api.views import WaitingForView
from modelwright import Client
from tests.docs.conftest import Running
from tests.stack import until

PAGE = (Path(__file__).parents[2] / "docs" / "queue.md").read_text(encoding="utf-8")


def test_the_example_of_the_page_does_what_it_says(service: Running, capsys: Any) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with Client(service.url, service.key) as client:
        namespace: dict[str, Any] = {"client": client}
        exec(block, namespace)
        changed = client.get_job(namespace["first"]["id"])
        until(lambda: _mine(client) == 2, seconds=60)  # the line is read again now and then
    assert (changed["priority"], changed["labels"]) == (10, {"draft": "yes"})
    assert namespace["night"]["start_after"] == "2026-12-24T18:00:00.000000Z"
    assert capsys.readouterr().out.splitlines()[0].startswith(f"1 {changed['id']} None No worker")
    assert namespace["totals"].keys() >= {"queued", "scheduled"}
    assert namespace["machines"] == []


def _mine(client: Client) -> int:
    totals = client.queue_totals()
    return int(totals["queued"] + totals["scheduled"])


def test_every_code_is_on_the_page() -> None:
    for code in get_args(WaitingForView.model_fields["code"].annotation):
        assert f"| `{code}` |" in PAGE
