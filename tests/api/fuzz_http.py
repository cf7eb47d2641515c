"""The long lane of requests made from the OpenAPI document, against a real API process (``make fuzz-http``).

    python -m tests.api.fuzz_http [--cases 10000] [--seed 1] [--minutes 0]

Schemathesis sends what the document allows, what it forbids, and what its links lead to; PostgreSQL, Redis and a worker
are real, and each kind of object is there before it begins: a link from an empty list leads nowhere.
It fails on any answer of 500 or more, on a status or a body that the document does not declare, and when fewer requests
were made than asked for. What counts as made is what the service's own access log has.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.http import service
from tests.stack import Stack, digits_job, until

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)
CONFIGURATION = """
[parameters]
"query.wait" = 0

[[operations]]
include-path-regex = "^/v1/graphs/(capture|compare)$"
generation.max-examples = 3

[[operations]]
include-path-regex = "^/v1/keys/self$"
phases.stateful.enabled = false
"""
"""A wait is answered after up to a minute; how it waits is tested where jobs change. A capture that is allowed takes
seconds of compiling. A sequence that knows its own key revokes it sooner or later, and all behind it is 401."""
SEQUENCES = 400
"""By links. Most end soon, where something was refused."""
FURNISHED = ("/v1/models", "/v1/datasets", "/v1/sweeps", "/v1/webhooks", "/v1/keys")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0, help="go on for so long; 0: one round")
    options = parser.parse_args()
    os.environ["MODELWRIGHT_WEBHOOK_HOSTS"] = "hooks.invalid"
    with service() as stack:
        warm(stack)
        furnish(stack)
        before = requests_by_status(stack)
        operations = sum(map(len, stack.client.get("/openapi.json").json()["paths"].values()))
        # A quarter: the cases at the borders of each schema, which come beside the drawn ones, are most of all.
        each = max(1, options.cases // operations // 4)
        failed = run(stack, "examples,coverage,fuzzing", each, options.seed, options.minutes)
        failed |= run(stack, "stateful", SEQUENCES, options.seed, options.minutes)
        asked = requests_by_status(stack) - before
    made = sum(asked.values())
    broken = sum(count for status, count in asked.items() if status >= 500)
    print(f"\n{made} requests, {broken} answers of 500 or more; by status: {dict(sorted(asked.items()))}")
    return int(bool(failed or broken or made < options.cases))


def warm(stack: Stack) -> None:
    """Wait until torch's compiler is loaded: before, a capture is 503 with ``Retry-After``, as documented."""
    model = {"model": "Linear(2, 2)", "inputs": {"x": [[0.0, 0.0]]}}
    until(lambda: stack.client.post("/v1/graphs/capture", json=model).status_code == 200, seconds=300)


def furnish(stack: Stack) -> None:
    """Make something of every kind: a job that was trained, and the examples of the document itself."""
    stack.start_worker()
    job = stack.wait(stack.submit(digits_job(1, checkpoints={"every": {"epochs": 1}})), seconds=180)
    assert job["state"] == "succeeded", job
    paths = stack.client.get("/openapi.json").json()["paths"]
    for path in FURNISHED:
        examples = paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        bodies = [example["value"] for example in examples.values()]
        if path == "/v1/webhooks":  # a name that nobody has (RFC 6761)
            bodies = [{**body, "url": "https://hooks.invalid/"} for body in bodies]
        made = [stack.client.post(path, json=body).status_code for body in bodies]
        assert 201 in made, (path, made)


def run(stack: Stack, phases: str, each: int, seed: int, minutes: float) -> bool:
    """Let Schemathesis make ``each`` cases of an operation and phase, or sequences; return whether a check failed."""
    configuration = stack.directory / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    key = stack.client.headers["authorization"]
    budget = ["--max-time", str(int(minutes * 60))] if minutes else []
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)),
        *(
            "run",
            f"{stack.client.base_url}/openapi.json",
            "-H",
            f"Authorization: {key}",
        ),
        *("--phases", phases, "--checks", ",".join(CHECKS), "--max-examples", str(each), "--seed", str(seed), *budget),
        *("--continue-on-failure", "--request-timeout", "60", "--generation-database", "none", "--warnings", "off"),
        *("--suppress-health-check", "all", "--workers", "1"),
    ]
    return subprocess.run(command, check=False, cwd=stack.directory).returncode != 0


def requests_by_status(stack: Stack) -> Counter[int]:
    """Count the lines of the access log."""
    found: Counter[int] = Counter()
    for log in Path(stack.directory).glob("*uvicorn.log"):
        for line in log.read_text(errors="replace").split("\n"):  # a path may hold other ends of lines
            if '"logger": "api.access"' in line:
                found[json.loads(line)["status"] or 0] += 1
    return found


if __name__ == "__main__":
    sys.exit(main())
