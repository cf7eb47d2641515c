"""The page on security: its commands are run, its limits and scopes are those of the code."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from api import scopes
from modelwright import Client
from modelwright.cli import main
from services.config import Settings
from services.limits.quotas import LIMITS
from services.tenants.scopes import RESOURCES
from tests.docs.conftest import Running

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KEY_OF_THE_PAGE = "key_7hG2kQ9z"


def commands() -> list[list[str]]:
    """Every command line of the page, without its remark, but for the login, which reads a keyboard."""
    lines = [line for block in _BLOCK.findall(PAGE) for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True)[1:] for line in lines if "login" not in line]


def test_the_commands_of_the_page_work(
    service: Running,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = {"MODELWRIGHT_URL": service.url, "MODELWRIGHT_API_KEY": service.key, "DATABASE_URL": database_url}
    for name, value in {**environment, "REDIS_URL": redis_url}.items():
        monkeypatch.setenv(name, value)
    with Client(service.url, service.key) as client:
        key = client.create_key(["jobs:read"])["id"]
    assert len(commands()) == 7
    for arguments in commands():
        monkeypatch.setattr(
            sys, "argv", ["modelwright", *(key if one == _KEY_OF_THE_PAGE else one for one in arguments)]
        )
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code, arguments


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\| ([^|]+) \|", PAGE, re.MULTILINE))
    assert rows.keys() == LIMITS.keys()
    settings, units = Settings("", ""), {"": 1, "GiB": 1 << 30, "TiB": 1 << 40}
    for name, shown in rows.items():
        number, unit = re.fullmatch(r"([\d ]+?) ?(GiB|TiB|)", shown.replace("10⁹", "1000000000")).groups()  # type: ignore[union-attr]
        assert int(number.replace(" ", "")) * units[unit] == LIMITS[name].default(settings), name


def test_the_page_names_every_resource() -> None:
    listed = PAGE.split("**Scopes.**")[1].split(", each with")[0]
    assert re.findall(r"`(\w+)`", listed) == list(RESOURCES)


def test_the_reference_names_the_scope_of_every_route() -> None:
    """Whatever a row of the reference says a route wants is what the table of the code says."""
    reference = (DOCS / "http.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(GET|POST|PATCH|PUT|DELETE) (/v1/[^`?]*)`[^|]*\| `([a-z]+:[a-z]+)`", reference, re.MULTILINE
    )
    known = {re.sub(r"\{\w+\}", "{}", route): scope for route, scope in scopes.NEEDED.items()}
    assert len(rows) >= 20
    for method, path, scope in rows:
        assert known[f"{method} " + re.sub(r"\{\w+\}", "{}", path)] == scope, (method, path)
