import hashlib
import os

import pytest

from modelwright import Client, ConnectionFailed, DownloadCorrupt, NotFound
from modelwright.transport import RetryPolicy
from tests.modelwright.scripted import hang_up, reply, scripted, send

CONTENT = os.urandom(700_000)
VIEW = {"id": "ckpt_1", "sha256": hashlib.sha256(CONTENT).hexdigest(), "size_bytes": len(CONTENT)}


def content(*, upto: int | None = None, ranges: bool = True, bytes_=CONTENT):
    """Answer a request for the content; ``upto`` cuts the connection after so many bytes of this answer."""

    def answer(handler):
        wanted = handler.headers.get("Range") if ranges else None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        rest = bytes_[start:]
        send(handler, 206 if wanted else 200, rest[:upto], length=len(rest))

    return answer


def client(service) -> Client:
    return Client(service.url, "mw_key", retries=RetryPolicy(attempts=3, first_seconds=0.01))


def test_a_cut_download_goes_on_where_it_stopped(tmp_path):
    answers = [reply(200, VIEW), content(upto=300_000), content(upto=200_000), content()]
    with scripted(*answers) as service:
        path = client(service).download("ckpt_1", tmp_path / "weights.safetensors")
    assert path.read_bytes() == CONTENT
    asked = [headers.get("range") for _, _, headers, _ in service.requests[1:]]
    assert asked == [None, "bytes=300000-", "bytes=500000-"]
    assert service.requests[2][2]["if-range"] == f'"{VIEW["sha256"]}"'
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_what_a_killed_process_had_downloaded_is_used_by_the_next(tmp_path):
    with scripted(reply(200, VIEW), content(upto=400_000), hang_up) as service, pytest.raises(ConnectionFailed):
        client(service).download("ckpt_1", tmp_path / "w")
    assert not (tmp_path / "w").exists()
    with scripted(reply(200, VIEW), content()) as service:
        client(service).download("ckpt_1", tmp_path / "w")
    assert service.requests[1][2]["range"] == "bytes=400000-"
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_a_server_that_ignores_the_range_starts_the_file_anew(tmp_path):
    answers = [reply(200, VIEW), content(upto=1000, ranges=False), content(ranges=False)]
    with scripted(*answers) as service:
        assert client(service).download("ckpt_1", tmp_path / "w").read_bytes() == CONTENT


def test_a_wrong_byte_is_noticed_and_nothing_is_kept(tmp_path):
    wrong = content(bytes_=b"\x00" + CONTENT[1:])
    with scripted(reply(200, VIEW), wrong) as service, pytest.raises(DownloadCorrupt):
        client(service).download("ckpt_1", tmp_path / "w")
    assert not list(tmp_path.iterdir())


def test_a_bad_piece_from_earlier_is_thrown_away_and_fetched_again(tmp_path):
    (tmp_path / f".w.{VIEW['sha256'][:12]}.part").write_bytes(b"rubbish")
    with scripted(reply(200, VIEW), content()) as service:
        assert client(service).download("ckpt_1", tmp_path / "w").read_bytes() == CONTENT


def test_a_piece_that_is_too_long_is_thrown_away(tmp_path):
    (tmp_path / f".w.{VIEW['sha256'][:12]}.part").write_bytes(CONTENT + b"more")
    with scripted(reply(200, VIEW), content()) as service:
        assert client(service).download("ckpt_1", tmp_path / "w").read_bytes() == CONTENT


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "w").write_text("old")
    with scripted(reply(200, VIEW), content(upto=10), hang_up) as service, pytest.raises(ConnectionFailed):
        client(service).download("ckpt_1", tmp_path / "w")
    assert (tmp_path / "w").read_text() == "old"


def test_progress_counts_up_to_the_size(tmp_path):
    seen = []
    with scripted(reply(200, VIEW), content(upto=300_000), content()) as service:
        client(service).download("ckpt_1", tmp_path, progress=lambda have, total: seen.append((have, total)))
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert (tmp_path / "ckpt_1.safetensors").exists()


def test_a_job_stands_for_its_newest_checkpoint(tmp_path):
    page = reply(200, {"data": [VIEW], "has_more": True, "last_id": "ckpt_1"})
    with scripted(page, content()) as service:
        client(service).download("job_1", tmp_path)
    assert service.requests[0][1] == "/v1/jobs/job_1/checkpoints?limit=1"
    assert (tmp_path / "ckpt_1.safetensors").read_bytes() == CONTENT


def test_a_job_without_a_checkpoint_is_said_to_have_none(tmp_path):
    with scripted(reply(200, {"data": [], "has_more": False, "last_id": None})) as service, pytest.raises(NotFound):
        client(service).download("job_1", tmp_path)


def elsewhere(service):
    return reply(307, {}, Location=f"{service.url}/bucket/object?X-Amz-Signature=1")


def test_bytes_that_lie_in_an_object_store_come_from_there_and_it_is_not_shown_the_key(tmp_path):
    with scripted(content(upto=300_000), reply(403, {}), content()) as store:
        sent = elsewhere(store)
        with scripted(reply(200, VIEW), sent) as service:
            path = client(service).download("ckpt_1", tmp_path / "w")
    assert path.read_bytes() == CONTENT
    assert [headers.get("range") for _, _, headers, _ in service.requests[1:]] == [None, *["bytes=300000-"] * 2]
    assert [headers.get("range") for _, _, headers, _ in store.requests] == [None, *["bytes=300000-"] * 2]
    for _, where, headers, _ in store.requests:
        assert where == "/bucket/object?X-Amz-Signature=1"
        assert {"authorization", "if-range"} & headers.keys() == set()


def test_a_store_that_nobody_reaches_is_a_connection_error_and_what_is_here_stays(tmp_path):
    with scripted(content(upto=300_000), hang_up) as store:
        sent = elsewhere(store)
        with scripted(reply(200, VIEW), sent) as service, pytest.raises(ConnectionFailed):
            client(service).download("ckpt_1", tmp_path / "w")
    [part] = tmp_path.iterdir()
    assert part.stat().st_size == 300_000
