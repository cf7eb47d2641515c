"""A process that owns a fork server and two children, prints their ids, and waits to be killed."""

import sys
import time

from services.forkserver import ForkServer
from tests.services.forkserver import targets


def main() -> None:
    server = ForkServer(preload=[])
    children = [server.spawn(f"{targets.__name__}:sleep", {}) for _ in range(2)]
    if sys.argv[1:] == ["--pause"]:
        children[0].pause()
    print(server.pid, *(child.pid for child in children), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
