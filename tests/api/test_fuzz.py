"""Some hundred requests made from the OpenAPI document, the same in every run: none is answered 5xx, or undeclared.

The long lane of the same, with links from answer to request, is ``make fuzz-http``.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EACH = 3
"""Requests an operation, in each mode."""
COMPILED = ("/v1/graphs/capture", "/v1/graphs/compare")
"""What these allow is compiled for seconds, and 503 with ``Retry-After`` before: the long lane waits for that."""

NO_HTTP = "Invalid HTTP request received."
"""What uvicorn says to a target or a header that is no HTTP: such a request never reaches the application."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def operations(app):
    every = [result.ok() for result in schemathesis.openapi.from_dict(app.openapi()).get_all_operations()]
    found = [one for one in every if one.path not in COMPILED]
    assert len(found) >= 40
    return found


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"])
def test_no_request_that_the_document_describes_breaks_the_service(operations, caller, url, mode):
    asked: Counter[int] = Counter()
    headers = {"Authorization": f"Bearer {caller.key}"}

    def ask(case):
        answer = case.call(base_url=url, headers=headers, timeout=60)
        if answer.text == NO_HTTP:
            return
        asked[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    for operation in operations:
        made = given(case=operation.as_strategy(generation_mode=mode))(ask)
        with suppress(Unsatisfiable):  # a call without parameters and body forbids nothing
            settings(
                max_examples=EACH,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(made)()
    assert sum(asked.values()) > 100
    assert not [status for status in asked if status >= 500]
