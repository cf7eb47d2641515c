"""A job whose checkpoints lie in an object store, which dies and comes back while it trains."""

import hashlib
import re
from pathlib import Path

from tests.object_store import ObjectServer
from tests.stack import Stack, digits_job, until

_LONG = re.compile(r"object store away for (?:[4-9]|\d\d+) s")


def test_training_waits_for_the_store_and_goes_on_with_the_same_attempt(
    module_environment: dict[str, str], tmp_path: Path
) -> None:
    server = ObjectServer(tmp_path / "objects.log")
    server.start()
    bucket = server.bucket()
    place = {
        "MODELWRIGHT_DATA_DIR": str(tmp_path / "data"),
        "MODELWRIGHT_OBJECT_STORE": f"s3://{bucket}/all",
        "MODELWRIGHT_OBJECT_STORE_ENDPOINT": server.url,
        "MODELWRIGHT_OBJECT_STORE_ACCESS_KEY_ID": "writer",
        "MODELWRIGHT_OBJECT_STORE_SECRET_ACCESS_KEY": "a secret",
    }
    stack = Stack({**module_environment, **place}, tmp_path / "logs")
    try:
        stack.start_worker()
        stack.start_api()
        model = "Sequential(Linear(64, 512), ReLU(), Linear(512, 10))"  # 128 KiB: large enough for an object
        job_id = stack.submit(digits_job(100_000, model=model, checkpoints={"every": {"epochs": 10}, "keep": 2}))
        until(lambda: stack.stored_step(job_id) > 0, seconds=90, what=stack.logs)
        assert server.keys(bucket)
        server.kill()
        until(lambda: _LONG.search(stack.logs()), seconds=90, what=stack.logs)
        held, stored = stack.job(job_id), stack.stored_step(job_id)
        assert (held["state"], held["attempt"]) == ("running", 1)  # 4 s are a lease
        server.start()
        server.client.create_bucket(Bucket=bucket)
        until(lambda: stack.stored_step(job_id) > stored, seconds=90, what=stack.logs)
        assert stack.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
        assert stack.wait(job_id)["attempt"] == 1
        [newest, *_] = stack.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]
        content = stack.client.get(newest["links"]["content"]).content
        assert hashlib.sha256(content).hexdigest() == newest["sha256"]
    finally:
        stack.stop()
        server.kill()
