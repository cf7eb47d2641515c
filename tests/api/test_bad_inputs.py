"""The whole table of bad inputs: every cell, and exactly the answer that is promised for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.bad_inputs import files, training, transport
from tests.api.bad_inputs.case import Case, World
from tests.api.conftest import problem_of

TABLE: dict[str, tuple[Case, ...]] = {
    "keys": transport.KEYS,
    "ids": transport.IDS,
    "bodies": transport.BODIES,
    "JSON": transport.JSON_LIMITS,
    "members": training.MEMBERS,
    "code": training.CODE,
    "sizes": training.SIZES,
    "shapes": training.SHAPES,
    "names": training.NAMES,
    "data": training.DATA,
    "files": files.FILES,
    "addresses": files.URLS,
    "idempotency": transport.IDEMPOTENCY,
    "ranges": transport.RANGES,
    "cancel": transport.CANCEL,
    "lists": transport.LISTS,
}

PROMISED = {
    "keys": "no key; malformed key; wrong key; expired key; revoked key; scope missing",
    "ids": "other tenant's id; random id; ../../etc/passwd; %252e; a;b",
    "bodies": "body over the limit with Content-Length; body over the limit without Content-Length; flat memory; "
    "drip-fed body; empty body; body that is not JSON; text/plain",
    "JSON": "depth 65; depth 100 000; 50 001 nodes; duplicate key; NaN; 1e400; 5 000-digit number; \\ud800; NUL",
    "members": "unknown field; tenant_id; is_admin; epochs '7'; epochs true; epochs 0; epochs -1; epochs 10^9; lr 0; "
    "lr -1; lr 1e308",
    "code": "type os.system; type __class__; type Lambda; code string: a call; code string: a program; "
    "code string: a lambda; a function that is none; dunder in an expression; attribute in an expression",
    "sizes": "Linear(out_features=10^12); no allocation; product over quota; dimension 0; dimension -1; "
    "dimension 2^63; Dropout p=2; Conv groups that do not divide",
    "shapes": "adjacent sizes differ",
    "names": "missing reference; unused name; duplicate name; recursion of definitions; repeat 10^9; nested repeats; "
    "while without at_most",
    "data": "label >= classes; 0 rows; NaN features; batch of 1 into BatchNorm",
    "files": "CSV ragged; CSV of 10^6 columns; CSV with a cell of 1 GB; .npy object dtype; .npy header claims 4 GB; "
    "zip bomb; ../ member; pickle as weights; broken safetensors",
    "addresses": "data URL to private; data URL to link-local; webhook URL to private; webhook URL to link-local; "
    "data URL that is rebound; data URL that redirects; "
    "webhook URL that is rebound; webhook URL that redirects; 0 packets sent",
    "idempotency": "same key, other body; same key in flight; key of 10 kB",
    "ranges": "Range with 10 000 parts; Range past the end; stale If-Range",
    "cancel": "cancel a finished job; cancel twice",
    "lists": "limit -1; limit 10^9; forged cursor; over quota; wrong method",
}
"""The words of the table, so that no cell is forgotten."""

_WEBHOOKS = "services/webhooks/test_delivery.py::"
_REMOTE = "services/datasets/test_remote.py::"
ELSEWHERE = {
    "flat memory": "api/test_body.py::test_without_a_declared_length_the_bytes_are_counted_and_memory_stays_flat",
    "data URL that is rebound": f"{_REMOTE}test_a_name_that_leads_elsewhere_by_now_gets_no_packet",
    "data URL that redirects": f"{_REMOTE}test_a_redirect_is_never_followed",
    "webhook URL that is rebound": f"{_WEBHOOKS}test_a_name_that_leads_inside_by_now_gets_no_packet",
    "webhook URL that redirects": f"{_WEBHOOKS}test_any_answer_but_2xx_is_a_failure_and_a_redirect_is_not_followed",
    "0 packets sent": "services/datasets/test_remote_address.py::test_a_bad_url_is_refused_before_a_packet_is_sent",
    "no allocation": "services/definition/test_bombs.py::"
    "test_what_grows_is_refused_where_it_begins_and_takes_no_memory",
}
"""Cells whose answer is a job's end, a packet that is not sent, or memory: they need more than one request."""

CASES = {f"{row}: {case.cell}": case for row, cases in TABLE.items() for case in cases}


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """Whatever a case may need."""
    parts = ("app", "url", "caller", "make_caller", "anonymous", "database")
    return World(*(request.getfixturevalue(name) for name in parts))


@pytest.mark.parametrize("name", CASES)
def test_a_bad_input_gets_exactly_the_promised_answer(world: World, name: str) -> None:
    case = CASES[name]
    answer = case.send(world)
    assert answer.status_code == case.status, answer.text
    assert set(case.headers) <= set(answer.headers)
    if case.status >= 400:
        found = problem_of(answer, case.status)
        assert (found["code"], _where(found)) == (case.code, case.where), found
        assert [said for said in case.says if said not in answer.text] == [], found


def _where(problem: dict) -> str | None:
    """The pointer of the first problem listed, ``?name`` for a parameter, None where none is listed."""
    if not problem["errors"]:
        return None
    first = problem["errors"][0]
    assert first["code"] == problem["code"]
    return f"?{first['parameter']}" if first.get("parameter") else str(first["pointer"])


def test_no_row_and_no_cell_of_the_table_is_forgotten() -> None:
    assert TABLE.keys() == PROMISED.keys()
    assert len(CASES) == sum(map(len, TABLE.values()))  # no name twice
    for row, words in PROMISED.items():
        there = {case.cell for case in TABLE[row]} | ELSEWHERE.keys()
        assert [cell for cell in words.split("; ") if cell not in there] == []


@pytest.mark.parametrize("cell", ELSEWHERE)
def test_what_takes_more_than_one_request_is_tested_where_the_table_says(cell: str) -> None:
    file, name = ELSEWHERE[cell].split("::")
    assert f"def {name}(" in (Path(__file__).parents[1] / file).read_text(encoding="utf-8")
