"""``python -m services.forkserver --control FD --preload a,b``: started by ``ForkServer``, never by hand."""

from __future__ import annotations

import argparse
import signal
import socket

from services.forkserver.server import Server


def main() -> None:
    """Serve the owner at the other end of the inherited socket until it is gone."""
    parser = argparse.ArgumentParser(prog="services.forkserver")
    parser.add_argument("--control", type=int, required=True, help="inherited socket to the owner")
    parser.add_argument("--preload", default="", help="modules to import once, separated by commas")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it lives exactly as long as its owner, who may still need it to stop
    server = Server(socket.socket(fileno=options.control))
    server.preload([name for name in options.preload.split(",") if name])
    server.serve()


if __name__ == "__main__":
    main()
