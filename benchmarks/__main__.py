"""Run every benchmark of this folder, or those named: ``python -m benchmarks [NAME…]``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

_HERE = Path(__file__).parent


def available() -> list[str]:
    """Return the names of the benchmarks: the files here that are not private."""
    return sorted(file.stem for file in _HERE.glob("*.py") if not file.stem.startswith("_"))


def run(name: str) -> int:
    """Run one in a process of its own, so that none warms or disturbs another; return its exit status."""
    print(f"\n## {name}\n", flush=True)
    begin = time.monotonic()
    status = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    print(f"\n({name}: {time.monotonic() - begin:.1f} s, exit {status})", flush=True)
    return status


def main(names: list[str]) -> int:
    """Run the benchmarks named, all without names; return 1 when one of them failed, 2 for an unknown name."""
    known = available()
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(known) or 'none'}", file=sys.stderr)
        return 2
    print(f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}", flush=True)
    failed = [run(name) for name in names or known]  # one that fails does not stop the others
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
