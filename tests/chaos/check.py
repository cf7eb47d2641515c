"""Judge the history of a run: ``python -m tests.chaos.check history.ndjson``. Exits 1 when a promise was broken.

It needs nothing but Python: no service, no database, no torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.chaos.checker import check, counts
from tests.chaos.figures import summary


def read(file: Path) -> list[dict[str, Any]]:
    """Return the records of an NDJSON file."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def report(history: list[dict[str, Any]]) -> int:
    """Print the figures and every finding; return how many there are."""
    calm = sum(record["event"] == "reference" for record in history)
    finished = sum(record["event"] == "finish" and record["state"] == "succeeded" for record in history)
    jobs = f"{counts(history)['jobs']} acknowledged, {finished - calm} succeeded"
    print(f"jobs            {jobs}; {calm} undisturbed ones to compare with")
    print("\n".join(summary(history)))
    findings = check(history)
    for finding in findings:
        print(f"✗ {finding}")
    judged = "lost 0, doubled 0, stale writes 0, metric gaps and doubles 0, all weights bit-identical"
    print(f"✗ {len(findings)} findings" if findings else f"✓ {judged}")
    return len(findings)


def main() -> int:
    """Read the file that the command line names and judge it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.check", description=__doc__)
    parser.add_argument("history", type=Path, help="an NDJSON file that `python -m tests.chaos.run` wrote")
    return int(report(read(parser.parse_args().history)) > 0)


if __name__ == "__main__":
    sys.exit(main())
