"""Every example of the page on predictions is run, on a service of real processes that trains its jobs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelwright import Client
from tests.stack import Stack, until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "predictions.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_SHELL = 'set -eu; modelwright() { "$PYTHON" -m modelwright "$@"; }\n'


@pytest.fixture
def stack(environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    """The API and a worker."""
    made = Stack(environment, tmp_path / "logs")
    try:
        made.start_worker()
        made.start_api()
        yield made
    finally:
        made.stop()


def test_the_page_does_what_it_says(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = str(stack.client.headers["authorization"]).removeprefix("Bearer ")
    given = {"MODELWRIGHT_URL": str(stack.client.base_url), "MODELWRIGHT_API_KEY": key}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for index, (kind, text) in enumerate(BLOCKS):
        if kind == "python":
            exec(text, namespace)
        elif kind == "bash":
            shown_as, shown = BLOCKS[index + 1]
            printed = run(text, {"JOB": namespace["job"]["id"], **given}, terminal=shown_as == "terminal")
            assert masked(printed) == masked(shown)

    predicts_while_it_trains(namespace["client"])


def predicts_while_it_trains(client: Client) -> None:
    """Any checkpoint that is listed answers, whatever its job does."""
    plan = {"epochs": 100_000, "optimizer": {"type": "SGD", "lr": 0.01}, "loss": {"type": "CrossEntropyLoss"}}
    policy = {"every": {"steps": 200}, "keep": 2}
    job = client.submit(model="Linear(64, 10)", data={"dataset": "digits"}, training=plan, checkpoints=policy)
    until(lambda: list(client.checkpoints(job["id"], limit=1)), seconds=60)
    steps = [client.predict(job["id"], split="test", limit=1)["step"] for _ in range(3)]
    assert steps[0] > 0
    assert steps == sorted(steps)
    assert not client.get_job(job["id"])["terminal"]
    client.cancel(job["id"])
    assert client.wait(job["id"], timeout_seconds=60)["state"] == "cancelled"


def run(text: str, given: dict[str, str], *, terminal: bool) -> str:
    environment = {**os.environ, **given, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "COLUMNS": "100"}
    environment |= {"FORCE_COLOR": "1"} if terminal else {}
    command = ["bash", "-c", _SHELL + text]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def masked(text: str) -> list[list[str]]:
    """Return the words of each line without colours, ids, bars and the digits of fractions."""
    text = re.sub(r"(ckpt|job)_\w+", r"\1_…", _COLOURS.sub("", text))
    text = re.sub(r"[█░]+ +\S+%.*?(?=[✓✗]|$)", " % ", text, flags=re.MULTILINE)
    return [re.sub(r"\d+\.\d+(e-\d+)?", "#", line).split() for line in text.strip().splitlines()]
