"""Bodies that are too large, too slow or never end: refused with an answer that arrives, in flat memory."""

import time

import psutil
import pytest

from api.body import BodyLimits
from tests.api.server import connected, read_answer

MIB = 1 << 20


@pytest.fixture(autouse=True)
def impatient(app):
    usual, app.state.body_limits = app.state.body_limits, BodyLimits(timeout_seconds=0.6)
    yield
    app.state.body_limits = usual


def head(caller, *lines):
    fixed = [
        "POST /v1/jobs HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {caller.key}",
        "Content-Type: application/json",
    ]
    return ("\r\n".join([*fixed, *lines]) + "\r\n\r\n").encode()


def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_read(url, caller):
    with connected(url) as sock:
        sock.sendall(head(caller, f"Content-Length: {1 << 40}"))
        answer = read_answer(sock)
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"


def test_who_asks_before_sending_is_told_without_sending(url, caller):
    with connected(url) as sock:
        sock.sendall(head(caller, f"Content-Length: {2 * MIB}", "Expect: 100-continue"))
        assert read_answer(sock).status == 413


def test_without_a_declared_length_the_bytes_are_counted_and_memory_stays_flat(url, caller):
    process = psutil.Process()
    before = process.memory_info().rss
    block = b"%x\r\n" % (64 << 10) + b" " * (64 << 10) + b"\r\n"
    with connected(url) as sock:
        sock.sendall(head(caller, "Transfer-Encoding: chunked"))
        for _ in range(480):  # 30 MiB, every one of them swallowed
            sock.sendall(block)
        sock.sendall(b"0\r\n\r\n")
        answer = read_answer(sock)
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
    assert process.memory_info().rss - before < 16 * MIB


def test_a_client_that_sends_everything_first_still_reads_the_answer(client, problem):
    for body in (b"x" * (8 * MIB), iter([b"x" * MIB] * 8)):
        answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert problem(answer, 413)["code"] == "body_too_large"


def test_a_body_that_drips_is_cut_off_however_steadily_it_drips(url, caller):
    with connected(url) as sock:
        sock.sendall(head(caller, "Content-Length: 1000"))
        started = time.monotonic()
        for _ in range(100):
            sock.sendall(b" ")
            time.sleep(0.05)
            sock.setblocking(False)
            try:
                if sock.recv(1, 2):  # MSG_PEEK: the answer is there
                    break
            except BlockingIOError:
                pass
            finally:
                sock.settimeout(20)
        answer = read_answer(sock)
    assert (answer.status, answer.json()["code"]) == (408, "body_timeout")
    assert time.monotonic() - started < 4


def test_a_body_that_never_comes_is_cut_off_too(url, caller):
    with connected(url) as sock:
        sock.sendall(head(caller, "Transfer-Encoding: chunked"))
        assert read_answer(sock).status == 408


def test_a_client_that_leaves_in_the_middle_harms_nobody(url, caller, client, caplog):
    with connected(url) as sock:
        sock.sendall(head(caller, "Content-Length: 1000") + b'{"model"')
    time.sleep(0.1)
    assert client.get("/healthz").status_code == 200
    assert "unhandled error" not in caplog.text


def test_a_body_in_many_small_pieces_is_one_body(url, caller):
    with connected(url) as sock:
        sock.sendall(head(caller, "Transfer-Encoding: chunked"))
        for piece in (b'{"mo', b'del": ', b"}"):
            sock.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
        sock.sendall(b"0\r\n\r\n")
        answer = read_answer(sock)
    assert (answer.status, answer.json()["code"], answer.json()["offset"]) == (400, "invalid_json", 10)


def test_no_length_and_no_chunks_is_no_body(url, caller):
    with connected(url) as sock:
        sock.sendall(head(caller))
        answer = read_answer(sock)
    assert (answer.status, answer.json()["code"]) == (422, "body_required")


def test_the_connection_serves_the_next_request_after_an_unread_body(url, caller):
    lines = ["POST /v1/nothing HTTP/1.1", "Host: x", "Content-Length: 100000"]
    with connected(url) as sock:
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + b"x" * 100_000)
        assert read_answer(sock).status == 404
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(sock).status == 200
