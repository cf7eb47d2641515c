"""A worker whose scratch folder is a file system of 3 MiB, in a mount namespace of its own (Linux)."""

import os
import sys
from pathlib import Path

NAMESPACES = "-m" if os.geteuid() == 0 else "-Urm"
"""Root stays root, so that it can still open everybody's sockets."""
MOUNT = 'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$0" -m worker --slots 1'


def main() -> None:
    scratch = Path(os.environ["MODELWRIGHT_DATA_DIR"]) / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    os.execvp("unshare", ["unshare", NAMESPACES, "sh", "-c", MOUNT, sys.executable, str(scratch)])


if __name__ == "__main__":
    main()
