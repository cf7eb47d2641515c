"""Many identical POSTs at once with one Idempotency-Key, on sockets of their own, to a real API process."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx

WAIT = (409, 429, 503)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of them was answered."""

    status: int
    job_id: str | None
    replayed: bool


def post_at_once(url: str, key: str, body: dict[str, Any], *, times: int, name: str) -> list[Answer]:
    """Open ``times`` connections, then send the same request on all of them; each again while it is told to wait."""
    return asyncio.run(_post(url, {"Authorization": f"Bearer {key}", "Idempotency-Key": name}, body, times))


async def _post(url: str, headers: dict[str, str], body: dict[str, Any], times: int) -> list[Answer]:
    limits = httpx.Limits(max_connections=times, max_keepalive_connections=times)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=170) as client:
        await asyncio.gather(*(client.get("/healthz") for _ in range(times)))
        return list(await asyncio.gather(*(_until_made(client, body) for _ in range(times))))


async def _until_made(client: httpx.AsyncClient, body: dict[str, Any]) -> Answer:
    while True:
        answer = await client.post("/v1/jobs", content=json.dumps(body), headers={"Content-Type": "application/json"})
        if answer.status_code not in WAIT:
            made = answer.json() if answer.status_code == 201 else {}
            return Answer(answer.status_code, made.get("id"), "Idempotent-Replayed" in answer.headers)
        await asyncio.sleep(0.5)


def summary(answers: list[Answer]) -> Counter[tuple[int, bool]]:
    """Return how often each status came, first-hand or replayed."""
    return Counter((answer.status, answer.replayed) for answer in answers)
