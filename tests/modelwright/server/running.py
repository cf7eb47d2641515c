"""`modelwright up` as a process of a test."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from modelwright import Client
from tests.modelwright.server.processes import eventually, is_alive

ROOT = Path(__file__).parents[3]


class Up:
    """A running `modelwright up`, with what it wrote to standard error."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self.directory = directory
        directory.parent.mkdir(exist_ok=True, parents=True)
        self.said = directory.with_name(directory.name + ".stderr")
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        command = [sys.executable, "-m", "modelwright", "up", "--data", str(directory), *(arguments or ("--port", "0"))]
        with self.said.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, stderr=stderr, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=inherited | environment
            )

    def ready(self) -> "Up":
        assert eventually(lambda: "is ready at" in self.text or self.process.poll() is not None, 120), self.text
        assert "is ready at" in self.text, self.text
        return self

    @property
    def text(self) -> str:
        return self.said.read_text()

    @property
    def credentials(self) -> dict[str, str]:
        return json.loads((self.directory / "credentials.json").read_text())

    def client(self) -> Client:
        return Client(self.credentials["url"], self.credentials["api_key"])

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.credentials['url']}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def family(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]

    def child(self, word: str) -> psutil.Process:
        """Return the direct child whose command line has ``word``."""
        children = psutil.Process(self.process.pid).children()
        return next(one for one in children if any(word in part for part in one.cmdline()))

    def stop(self, number: int = signal.SIGTERM) -> int:
        family = self.family()
        self.process.send_signal(number)
        self.process.communicate(timeout=120)
        assert eventually(lambda: not any(is_alive(pid) for pid in family), 30), self.text
        return self.process.returncode
