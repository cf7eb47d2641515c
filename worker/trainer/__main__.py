"""``python -m worker.trainer job.json``: train a request, or a job file of a worker, in this very process.

Interrupt it and it saves a checkpoint; start it again with ``--resume FOLDER`` and it goes on.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from services.errors import InvalidRequest
from worker.trainer.main import run
from worker.trainer.standalone import Terminal, job_from_request

_INVALID = 2


def main(arguments: list[str] | None = None) -> int:
    """Train and return the exit code: 0 ended well, 1 failed, 2 the request is invalid."""
    options = _parser().parse_args(arguments)
    content = json.loads(options.job.read_text(encoding="utf-8"))
    try:
        job = _job(content, options)
    except InvalidRequest as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem.pointer or '/'}: {problem.code}: {problem.detail} {problem.hint or ''}\n")
        return _INVALID
    signal.signal(signal.SIGINT, lambda number, frame: signal.raise_signal(signal.SIGTERM))
    return run(job, Terminal(keep=job["checkpoints"]["keep"]))


def _job(content: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    folder = options.output or options.job.with_suffix("")
    job = content if "definition" in content else job_from_request(content, folder)
    job = {**job, "threads": options.threads or job.get("threads", 1), "output": str(folder)}
    if options.resume:
        job["resume"] = {"directory": str(options.resume), "step": None}
    return job


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.trainer", description="Train one job, without a service.")
    parser.add_argument("job", type=Path, help="a request as for POST /v1/jobs, or a worker's job file")
    parser.add_argument("--output", type=Path, help="folder for checkpoints (default: beside the file)")
    parser.add_argument("--resume", type=Path, help="folder of the checkpoint to go on from")
    parser.add_argument("--threads", type=int, help="threads for one operation (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
