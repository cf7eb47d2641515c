"""A prediction with a cold child and with a warm one, over HTTP: what keeping the model built is worth.

    python -m benchmarks.predict

The job is a small MLP on digits, trained by the service itself. A cold request builds the model in a new child; the
floor of a warm one is ``GET /v1/checkpoints/{id}`` of the same client, which only looks the checkpoint up.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from httpx import Response

from benchmarks.http import service
from tests.stack import Stack, digits_job

_JOBS, _ROUNDS, _WARM = 4, 3, 60
_ROW = [0.5] * 64


def main() -> None:
    with service() as stack:
        stack.start_worker()
        paths = [checkpoint(stack, seed) for seed in range(_JOBS)]
        measure(stack, paths[0], rows=1)  # torch is imported by now
        # More models than children are kept: in turns each finds none.
        cold = [measure(stack, path, rows=1) for _ in range(_ROUNDS) for path in paths]
        path = paths[-1]
        looked = [timed(lambda: stack.client.get(path)) for _ in range(_WARM)]
        warm = {rows: [measure(stack, path, rows=rows) for _ in range(_WARM)] for rows in (1, 100, 700)}
        split = [post(stack, path, {"data": {"split": "test"}, "limit": 1}) for _ in range(_WARM // 4)]
        csv = {"accept": "text/csv"}
        seconds = min(
            timed(lambda: stack.client.post(f"{path}/predict", json={"data": {}}, headers=csv)) for _ in "123"
        )
    print(f"\n  {'':<44}{'median ms':>10}{'best ms':>10}")
    show("GET the checkpoint (the floor)", looked)
    show("1 row, cold: new child, model built", cold)
    for rows, times in warm.items():
        show(f"{rows} row(s), warm", times)
    show("test part (180 rows) with metrics, warm", split)
    print(f"  {'all 1797 rows as a CSV stream, warm':<44}{'':>10}{seconds * 1e3:>10.1f}  {1797 / seconds:,.0f} rows/s")
    print(f"  {'ratio: cold ÷ warm, 1 row':<44}{statistics.median(cold) / statistics.median(warm[1]):>10.1f}")


def checkpoint(stack: Stack, seed: int) -> str:
    """Train a job and return the path of its checkpoint."""
    request = digits_job(1)
    job_id = stack.submit({**request, "training": {**request["training"], "seed": seed}})
    stack.wait(job_id)
    return f"/v1/checkpoints/{stack.client.get(f'/v1/jobs/{job_id}/checkpoints').json()['data'][0]['id']}"


def measure(stack: Stack, path: str, *, rows: int) -> float:
    """Return the seconds of a request with so many rows."""
    return post(stack, path, {"columns": {"pixels": [_ROW] * rows}})


def post(stack: Stack, path: str, body: object, accept: str = "application/json") -> float:
    """Return the seconds of one prediction."""
    return timed(lambda: stack.client.post(f"{path}/predict", json=body, headers={"accept": accept}))


def timed(action: Callable[[], Response]) -> float:
    """Return how many seconds a request takes, which must be answered."""
    begun = time.perf_counter()
    answer = action()
    took = time.perf_counter() - begun
    assert answer.status_code == 200, answer.text
    return took


def show(name: str, times: list[float]) -> None:
    """Print one line."""
    print(f"  {name:<44}{statistics.median(times) * 1e3:>10.1f}{min(times) * 1e3:>10.1f}")


if __name__ == "__main__":
    main()
