"""The interactive page: public, whole without a network, and allowed nothing but its own files."""

import hashlib
import re
from pathlib import Path

import pytest

from api import docs_page

FILES = Path(docs_page.__file__).with_name("swagger")


def test_anybody_can_open_it_and_it_shows_the_document(anonymous):
    page = anonymous.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "/openapi.json" in anonymous.get("/docs/start.js").text


def test_all_it_loads_is_served_here(anonymous):
    wanted = re.findall(r'(?:src|href)="([^"]+)"', anonymous.get("/docs").text)
    assert {"/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/start.js"} <= set(wanted)
    for path in wanted:
        answer = anonymous.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["x-content-type-options"] == "nosniff"
    own = [path.read_text() for path in (FILES / "index.html", FILES / "start.js", FILES / "page.css")]
    assert not re.search(r"https?://", "".join(own))


@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui-bundle.js"])
def test_a_browser_may_run_and_ask_nothing_else(anonymous, path):
    policy = anonymous.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in (FILES / "index.html").read_text()


def test_it_is_kept_by_its_tag(anonymous):
    first = anonymous.get("/docs/swagger-ui.css")
    again = anonymous.get("/docs/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("name", ["index.html", "NOTICE", "nothing.js", "..%2fapp.py", "%2e%2e", "__init__.py"])
def test_nothing_else_of_the_folder_is_served(anonymous, problem, name):
    assert problem(anonymous.get(f"/docs/{name}"), 404)["code"] == "not_found"


def test_the_files_are_those_that_the_notice_names_with_their_licences():
    notice = (FILES / "NOTICE").read_text()
    named = dict(reversed(line.split()) for line in re.findall(r"^[0-9a-f]{64}  .*$", notice, re.MULTILINE))
    assert named.keys() == {"swagger-ui-bundle.js", "swagger-ui.css"}
    for name, digest in named.items():
        assert hashlib.sha256((FILES / name).read_bytes()).hexdigest() == digest
    assert "Apache License" in (FILES / "LICENSE-swagger-ui").read_text()
    assert "MIT" in (FILES / "LICENSE-bundled").read_text()
