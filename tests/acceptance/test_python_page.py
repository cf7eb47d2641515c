"""Every example of the page on the Python client is run, one after the other, on the service of real processes."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from modelwright import JobFailed
from tests.stack import Stack, digits_job

PAGE = (Path(__file__).parents[2] / "docs" / "python-client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_does_what_it_says(
    service: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELWRIGHT_URL", str(service.client.base_url))
    monkeypatch.setenv("MODELWRIGHT_API_KEY", str(service.client.headers["authorization"]).removeprefix("Bearer "))
    monkeypatch.chdir(tmp_path)
    module = {"__name__": "page"}
    given: dict[str, Any] = module
    source = tmp_path / "page.py"
    source.write_text("\n".join(BLOCKS), encoding="utf-8")
    exec(compile(source.read_text(encoding="utf-8"), str(source), "exec"), given)
    printed = capsys.readouterr()
    assert "succeeded 0." in printed.out
    assert "shape_mismatch /model 36 " in printed.out
    assert "job.state_changed succeeded" in printed.out
    assert re.search(r"^job_\w+ \d{4}-", printed.out, re.MULTILINE)
    assert "somebody was here: {'reviewed': 'yes'}" in printed.out
    assert [record["step"] for record in given["records"]] == list(range(1, len(given["records"]) + 1))
    assert given["path"].stat().st_size > 0
    assert given["model"](torch.zeros(2, 64)).shape == (2, 10)
    assert not given["model"].training
    _what_fails_is_raised(given["client"])


def _what_fails_is_raised(client: Any) -> None:
    job = client.submit(digits_job(100_000))
    job.cancel()
    with pytest.raises(JobFailed, match="cancelled"):
        job.result(timeout_seconds=60)
