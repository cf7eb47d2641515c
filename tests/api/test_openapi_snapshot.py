"""The published interface changes only where somebody says so."""

from __future__ import annotations

from tests.api.openapi_snapshot import accepted, changes, document

SHOWN = 60


def test_the_document_is_the_one_that_was_accepted() -> None:
    found = list(changes(accepted(), document()))
    more = f"\n… and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    assert not found, "\n".join(["docs/openapi.json differs; `make openapi` accepts it:", *found[:SHOWN], more])


def test_a_change_is_told_by_its_place() -> None:
    before = {"paths": {"/a": {"get": {"summary": "Look"}}, "/b": {}}, "openapi": "3.1.0"}
    now = {"paths": {"/a": {"get": {"summary": "Look at it"}}, "/c": {}}, "openapi": "3.1.0"}
    assert list(changes(before, now)) == [
        '~ paths › /a › get › summary: "Look" → "Look at it"',
        "- paths › /b",
        "+ paths › /c",
    ]
    assert list(changes(now, now)) == []
