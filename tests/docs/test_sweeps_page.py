"""Every example of the page on sweeps is run: requests are checked by a real API, the code ends with a best trial."""

from __future__ import annotations

import json
import re
import threading
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
from tests.services.sweeps.harness import Rig, rate
from worker.sweeps import SweepDriver

PAGE = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(json|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def client(environment: dict[str, str], database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of an API of this test's own, with a driver, and a hand that trains what is queued."""
    settings = load_settings(environment)
    with database.session() as session:
        tenant = tenants.create_tenant(session, name="reader").id
        key, _ = tenants.create_key(session, tenant_id=tenant, scopes=("*",))
    app = create_app(settings)
    with serving(app) as url, Client(url, key) as made:
        preflight = app.state.parts.preflight
        monkeypatch.setattr(SweepDriver, "_warm_preflight", lambda _: preflight)  # torch is loaded once here
        driver, done = SweepDriver(settings), threading.Event()
        rig = Rig(database, tenant, settings, preflight)

        def train() -> None:
            while not done.wait(0.05):
                if rig.work(rate):
                    driver.ring()

        hand = threading.Thread(target=train)
        driver.start()
        hand.start()
        try:
            yield made
        finally:
            done.set()
            hand.join()
            driver.close()


def test_the_examples_of_the_page_do_what_it_says(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = _BLOCK.findall(PAGE)
    assert [kind for kind, _ in blocks] == ["json", "python", "json"]
    points = []
    for kind, text in blocks:
        if kind == "json":
            points.append(client.validate_sweep(json.loads(text))["resolved"]["points"])
            continue
        namespace: dict[str, Any] = {"client": client}
        exec(text, namespace)
        assert namespace["sweep"]["state"] == "succeeded"
        assert [trial["state"] for trial in namespace["table"]] == ["succeeded", "succeeded"]
        assert namespace["best"]["parameters"] == {"/training/optimizer/lr": 0.01}
        drawn = client.sweep_picture(namespace["sweep"]["id"])
        assert drawn.startswith("<svg")
        assert len(client.parallel_coordinates(namespace["sweep"]["id"])["lines"]) == 2
        assert [sweep["id"] for sweep in client.sweeps(states=["succeeded"])] == [namespace["sweep"]["id"]]
    assert points == [None, 12]
    assert capsys.readouterr().out.startswith("0.0 {'/training/optimizer/lr': 0.01} None")


def test_every_kind_of_values_is_on_the_page() -> None:
    for kind in ("choice", "uniform", "log_uniform", "int", "log_int"):
        assert f'{{"{kind}":' in PAGE
