"""The floor: FastAPI with nothing behind it, and Starlette's own file answer."""

from __future__ import annotations

import os
from typing import Any

from fastapi import Body, FastAPI
from fastapi.responses import FileResponse

app = FastAPI(openapi_url=None)


@app.get("/job/{job_id}")
def get_job(job_id: str) -> dict[str, Any]:
    return {"id": job_id, "object": "job", "state": "queued"}


@app.post("/job", status_code=201)
def create_job(body: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 - FastAPI's way
    return {"id": "job_1", "object": "job", "state": "queued", "request": body}


@app.get("/file")
def get_file() -> FileResponse:
    return FileResponse(os.environ["BENCH_FILE"])
