"""Log lines: one line of JSON each, about what it is about, and without secrets."""

import json
import logging
import threading

from services.logging import JsonFormatter, about
from services.tenants import keys


def line(message="x", **extra):
    record = logging.LogRecord("here", logging.WARNING, "file", 1, message, (), None)
    record.__dict__.update(extra)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_is_about_everything_around_it():
    with about(request_id="req_1", tenant_id="ten_1"):
        with about(job_id="job_1", attempt=2):
            found = line(step=3)
        assert "job_id" not in line()
    assert {name: found[name] for name in ("request_id", "tenant_id", "job_id", "attempt", "step")} == {
        "request_id": "req_1",
        "tenant_id": "ten_1",
        "job_id": "job_1",
        "attempt": 2,
        "step": 3,
    }
    assert (found["level"], found["logger"], found["message"]) == ("warning", "here", "x")
    assert "request_id" not in line()


def test_another_thread_is_about_something_else():
    found = []
    with about(job_id="job_1"):
        thread = threading.Thread(target=lambda: found.append(line()))
        thread.start()
        thread.join()
    assert "job_id" not in found[0]


def test_no_line_holds_the_secret_of_a_key_and_no_text_breaks_it():
    secret, _ = keys.generate()
    found = line(f"a\n\u2028{secret}", path=f"/v1/{secret}", what=object())
    assert secret[12:] not in json.dumps(found)
    assert secret[:12] in found["message"]
